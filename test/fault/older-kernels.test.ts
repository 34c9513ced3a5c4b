import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { UserNamespace, unmount } from "../../src/index.ts";
import { ask, root, sh } from "../support/child.ts";
import { kernelFacts } from "../support/kernel-facts.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "tool:cc"] as const;
/** These calls have one number on every architecture, except for ioctl. */
const CALL = {
	open_tree: 428,
	move_mount: 429,
	pidfd_open: 434,
	clone3: 435,
	close_range: 436,
	openat2: 437,
	mount_setattr: 442,
};
const ioctl = process.arch === "arm64" ? 29 : 16;
const PIDFD_GET_USER_NAMESPACE = 0xff09;
const NS_GET_ID = 0x8008b70d;

let folder: string | undefined;
after(() => {
	if (folder !== undefined) rmSync(folder, { recursive: true });
});

/** The prefix of a script for which these calls do not exist. */
function without(...calls: (number | string)[]): { prefix: string[] } {
	if (folder === undefined) {
		folder = mkdtempSync(join(tmpdir(), "userns-deny-"));
		sh("cc", "-O2", "-o", join(folder, "deny"), join(root, "test/support/programs/deny.c"));
	}
	return { prefix: [join(folder, "deny"), calls.join(",")] };
}

const CREATE_AND_READ = `const ns = await userns.UserNamespace.create("0:100000:65536,70000:300000:5");
	const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
	const byPid = userns.UserNamespace.open(process.pid);
	console.log(JSON.stringify({ read: (await bare.mapping()).id, own: byPid.inode > 0, same: bare.equals(ns), id: typeof ns.id }));`;

const cases: [name: string, calls: (number | string)[]][] = [
	["nothing (the control)", []],
	["clone3", [CALL.clone3]],
	["openat2", [CALL.openat2]],
	["PIDFD_GET_USER_NAMESPACE", [`${ioctl}:${PIDFD_GET_USER_NAMESPACE}`]],
	["NS_GET_ID", [`${ioctl}:${NS_GET_ID}`]],
	["all four", [CALL.clone3, CALL.openat2, `${ioctl}:${PIDFD_GET_USER_NAMESPACE}`, `${ioctl}:${NS_GET_ID}`]],
];

for (const [name, calls] of cases) {
	test(`namespaces are created, opened and read back without ${name}`, { needs }, () => {
		const has = kernelFacts().get("NS_GET_ID") === 0 && !calls.includes(`${ioctl}:${NS_GET_ID}`);
		assert.deepEqual(ask<Record<string, unknown>>(CREATE_AND_READ, without(...calls)), {
			read: "0:100000:65536,70000:300000:5",
			own: true,
			same: true,
			id: has ? "bigint" : "undefined",
		});
	});
}

test("the control: the denied calls fail with ENOSYS and ENOTTY", {
	needs: [...needs, "shared-page"],
}, () => {
	// Reading a mapping needs close_range and has no fallback, so a filter that does nothing would be visible.
	const error = ask<Record<string, string>>(
		`const ns = userns.UserNamespace.createSync("0:100000:10");
		let error; try { userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mappingSync(); } catch (e) { error = e; }
		console.log(JSON.stringify(error));`,
		without(CALL.close_range),
	);
	assert.equal(error.code, "ERR_USERNS_READ_MAPPING");
	assert.equal(error.errnoCode, "ENOSYS");
	assert.match(error.hint ?? "", /too old|seccomp/);
	const pid = ask<Record<string, string>>(
		`let error; try { userns.UserNamespace.open(process.pid); } catch (e) { error = e; } console.log(JSON.stringify(error));`,
		without(CALL.pidfd_open),
	);
	assert.equal(pid.code, "ERR_USERNS_OPEN");
	assert.equal(pid.errnoCode, "ENOSYS");
});

for (const call of ["open_tree", "mount_setattr", "move_mount"] as const) {
	test(
		`without ${call} a mount is ERR_USERNS_UNSUPPORTED_KERNEL, and nothing is left`,
		{ needs: [...needs, "mounts"] },
		() =>
			withTmpfs((top) => {
				const [source = "", target = ""] = mkdirs(top, "source", "target");
				const { error, descriptors } = ask<{ error: Record<string, string>; descriptors: number }>(
					`import fs from "node:fs";
				const mount = () => userns.mountIdmapped({ source: ${JSON.stringify(source)}, target: ${JSON.stringify(target)}, mapping: "0:1:1" }).catch((e) => e);
				await mount();
				const before = fs.readdirSync("/proc/self/fd").length;
				const error = await mount();
				console.log(JSON.stringify({ error, descriptors: fs.readdirSync("/proc/self/fd").length - before }));`,
					without(CALL[call]),
				);
				assert.equal(error.code, "ERR_USERNS_UNSUPPORTED_KERNEL");
				assert.equal(error.syscall, call);
				assert.equal(descriptors, 0);
				assert.equal(mountAt(target), undefined);
			}),
	);
}

test(
	"without mount_setattr a namespace is pinned on a shared mount, and the pin is private",
	{ needs: [...needs, "private-mounts"] },
	() =>
		withTmpfs((top) => {
			sh("mount", "--make-shared", top);
			const path = join(top, "ns");
			const script = `const ns = userns.UserNamespace.createSync("0:100000:65536");
				userns.pin(ns, ${JSON.stringify(path)});
				console.log(ns.inode);`;
			const inode = ask<number>(script, without(CALL.mount_setattr));
			assert.deepEqual([mountAt(path)?.type, mountAt(path)?.optional], ["nsfs", []]);
			const again = UserNamespace.open(path);
			assert.equal(again.inode, inode);
			again.close();
			assert.equal(unmount(path).kind, "user namespace");
		}),
);
