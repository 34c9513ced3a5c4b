import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { mountIdmapped } from "../../src/index.ts";
import { native } from "../../src/native/addon.ts";
import { ask, root, sh } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "tool:cc"] as const;
const LONG = process.env.USERNS_LONG === "1";
const MAP = "0:100000:65536";
/** These calls have one number on every architecture, except for the oldest ones. */
const CALL = {
	umount2: process.arch === "arm64" ? 39 : 166,
	setns: process.arch === "arm64" ? 268 : 308,
	statx: process.arch === "arm64" ? 291 : 332,
	fchown: process.arch === "arm64" ? 55 : 93,
	fchmod: process.arch === "arm64" ? 52 : 91,
	flistxattr: process.arch === "arm64" ? 13 : 196,
	open_tree: 428,
	move_mount: 429,
	fsopen: 430,
	fsconfig: 431,
	fsmount: 432,
	openat2: 437,
	mount_setattr: 442,
	statmount: 457,
	listmount: 458,
	open_tree_attr: 467,
};
type Call = keyof typeof CALL;

let folder: string | undefined;
after(() => {
	if (folder !== undefined) rmSync(folder, { recursive: true });
});

/** The prefix of a script for which these calls return that errno. */
function answering(errno: number | undefined, ...calls: Call[]): { prefix: string[] } {
	if (folder === undefined) {
		folder = mkdtempSync(join(tmpdir(), "userns-deny-"));
		sh("cc", "-O2", "-o", join(folder, "deny"), join(root, "test/support/programs/deny.c"));
	}
	const list = calls.map((call) => `${CALL[call]}${errno === undefined ? "" : `=${errno}`}`);
	return { prefix: [join(folder, "deny"), list.join(",")] };
}

interface Answer {
	error: { code: string; errnoCode?: string; syscall?: string; message: string; hint?: string } | null;
	descriptors: number;
	mounts: number;
}

/** Runs an action that fails, twice. Returns the second failure, and what it left in that process. */
function failing(action: string, errno: number | undefined, ...calls: Call[]): Answer {
	return ask<Answer>(
		`import fs from "node:fs";
		const make = async () => { ${action} };
		const act = async () => { await (await make()).unmount(); };
		const count = () => [fs.readdirSync("/proc/self/fd").length, fs.readFileSync("/proc/self/mountinfo", "utf8").split("\\n").length];
		await act().catch(() => {});
		const before = count();
		let error = null;
		try { await act(); } catch (e) { error = { message: e.message, ...e.toJSON() }; }
		const after = count();
		console.log(JSON.stringify({ error, descriptors: after[0] - before[0], mounts: after[1] - before[1] }));`,
		answering(errno, ...calls),
	);
}

function mountOf(options: object): string {
	return `return userns.mountIdmapped(${JSON.stringify(options)});`;
}

/** A source with an ID-mapped mount below it, so that a mount needs every call of this package. */
async function withEverything(
	body: (locations: { source: string; plain: string; target: string; old: string }) => Promise<void>,
): Promise<void> {
	await withTmpfs(async (top) => {
		const [source = "", plain = "", target = "", old = ""] = mkdirs(top, "source", "plain", "target", "old");
		const inner = mkdirs(source, "inner")[0] as string;
		sh("mount", "-t", "tmpfs", "inner", inner);
		sh("mount", "-t", "tmpfs", "old", old);
		const { mountIdmapped } = await import("../../src/index.ts");
		const there = await mountIdmapped({ source: inner, target: inner, mapping: "0:5:65536" });
		there.close();
		await body({ source, plain, target, old });
		sh("umount", inner);
		sh("umount", inner);
		sh("umount", old);
	});
}

for (const errno of LONG ? ([undefined, 1, 12] as const) : ([undefined, 1] as const)) {
	const name = errno === undefined ? "ENOSYS" : errno === 1 ? "EPERM" : "ENOMEM";
	test(
		`${name} at each call of a mount is an error that names the call, and leaves nothing attached or open`,
		{
			needs: [...needs, "linux:6.15"],
		},
		() =>
			withEverything(async ({ source, plain, target, old }) => {
				const before = readFileSync("/proc/self/mountinfo", "utf8");
				const simple = { source: plain, target, mapping: MAP };
				const cases: [object, Call, RegExp?][] = [
					[simple, "open_tree"],
					[simple, "mount_setattr"],
					[simple, "move_mount"],
					[{ ...simple, resolve: "no-symlinks" }, "openat2"],
					[{ ...simple, targetRoot: "/" }, "openat2"],
					[{ ...simple, target: old, replace: true }, "move_mount"],
					[{ ...simple, target: old, replace: true }, "umount2"],
					[{ source, target, mapping: MAP, recursive: true }, "open_tree_attr"],
					[{ source, target, mapping: MAP, recursive: true }, "move_mount"],
					[{ source, target, mapping: MAP, recursive: true }, "statmount"],
				];
				for (const [options, call] of cases) {
					const { error, descriptors, mounts } = failing(mountOf(options), errno, call);
					const what = `${call}: ${JSON.stringify(error)}`;
					// The creation of the namespace needs openat2 too.
					assert.match(error?.code ?? "", /^ERR_USERNS_(MOUNT|UNSUPPORTED_KERNEL|READ_MOUNTS|CREATE)$/, what);
					assert.ok(error?.code !== "ERR_USERNS_CREATE" || call === "openat2", what);
					if (errno !== undefined) assert.equal(error?.errnoCode, name, what);
					if (call !== "statmount")
						assert.equal(error?.syscall, call === "openat2" ? error?.syscall : call, what);
					if (errno === undefined) assert.ok(error?.hint, what);
					assert.deepEqual({ descriptors, mounts }, { descriptors: 0, mounts: 0 }, what);
				}
				assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
			}),
	);
}

test("a mount without statx is an error, and nothing is attached", { needs }, () =>
	withTmpfs((folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const code = ask<string>(
			`const handles = new userns.Handles();
			handles.getSync("${MAP}").close();
			const options = { source: "${source}", target: "${target}", mapping: "${MAP}", handles };
			const error = await userns.mountIdmapped(options).catch((reason) => reason);
			handles.release();
			console.log(JSON.stringify(error?.code + " " + error?.syscall));`,
			answering(undefined, "statx"),
		);
		assert.equal(code, "ERR_USERNS_UNSUPPORTED_KERNEL statx");
		assert.equal(mountAt(target), undefined);
	}),
);

test(
	"before Linux 6.15, nested maps fail and say what is missing, and all other mounts work",
	{
		needs: [...needs, "linux:6.15"],
	},
	() =>
		withEverything(async ({ source, plain, target }) => {
			const inner = join(source, "inner");
			const old: Call[] = ["open_tree_attr", "statmount", "listmount"];
			const nested = failing(mountOf({ source: inner, target, mapping: MAP }), undefined, ...old);
			assert.equal(nested.error?.code, "ERR_USERNS_UNSUPPORTED_KERNEL");
			assert.match(nested.error?.message ?? "", /tmpfs at .*inner is already ID-mapped/);
			assert.match(nested.error?.hint ?? "", /statmount\(2\).*open_tree_attr\(2\), both of Linux 6.15/);
			for (const options of [{ mapping: MAP, nested: "replace" }, { unmap: true }]) {
				const { error } = failing(mountOf({ source: inner, target, ...options }), undefined, ...old);
				assert.equal(error?.code, "ERR_USERNS_UNSUPPORTED_KERNEL");
				assert.match(error?.hint ?? "", /Linux 6\.15|Allow open_tree_attr\(2\)/); // the filter, if the kernel has the call
			}
			const plainly = failing(
				mountOf({ source: plain, target, mapping: MAP, recursive: true }),
				undefined,
				...old,
			);
			assert.equal(plainly.error, null);
			const answers = ask<{ idmapped: boolean; unknown: string }[]>(
				`console.log(JSON.stringify(userns.mounts({ idmapped: true })));`,
				answering(undefined, ...old),
			);
			assert.ok(answers.length > 0);
			for (const { idmapped, unknown } of answers) {
				assert.equal(idmapped, true);
				assert.match(unknown, /^map unknown on this kernel/);
			}
			const supported = ask<{ supported: boolean; reason: string }>(
				`console.log(JSON.stringify(await userns.supports(${JSON.stringify(inner)})));`,
				answering(undefined, ...old),
			);
			assert.equal(supported.supported, false);
			assert.match(supported.reason, /already ID-mapped, and this kernel cannot/);
		}),
);

test("EBUSY while the map is set is an error that names a writer", { needs }, () =>
	withTmpfs((top) => {
		const [source = "", target = ""] = mkdirs(top, "source", "target");
		const { error, descriptors, mounts } = failing(
			mountOf({ source, target, mapping: MAP }),
			16,
			"mount_setattr",
		);
		assert.equal(error?.code, "ERR_USERNS_MOUNT");
		assert.equal(error?.errnoCode, "EBUSY");
		assert.match(error?.hint ?? "", /open for writing/);
		assert.deepEqual({ descriptors, mounts }, { descriptors: 0, mounts: 0 });
		assert.equal(mountAt(target), undefined);
	}),
);

test(
	"each failing call of an overlay, and of a mount in a container, leaves nothing",
	{
		needs: [...needs, "fs:overlay", "tool:unshare"],
	},
	() =>
		withTmpfs(async (top) => {
			const [one = "", two = "", target = ""] = mkdirs(top, "one", "two", "target");
			const overlay = `return userns.overlay(${JSON.stringify({ lower: [one, two], target, mapping: MAP })});`;
			for (const call of [
				"fsopen",
				"fsconfig",
				"fsmount",
				"open_tree",
				"mount_setattr",
				"move_mount",
			] as const) {
				const { error, descriptors, mounts } = failing(overlay, undefined, call);
				assert.equal(error?.code, "ERR_USERNS_UNSUPPORTED_KERNEL", call);
				assert.equal(error?.syscall, call);
				assert.deepEqual({ descriptors, mounts }, { descriptors: 0, mounts: 0 }, call);
			}
			// The upper layer of each attempt is new.
			const writable = `const [upper, work] = ["u", "w"].map((name) => fs.mkdtempSync(${JSON.stringify(`${top}/`)} + name));
				return userns.overlay({ lower: ${JSON.stringify(one)}, upper, work, target: ${JSON.stringify(target)}, mapping: "${MAP}" });`;
			for (const call of ["fchown", "fchmod", "flistxattr"] as const) {
				const { error, descriptors, mounts } = failing(writable, 1, call);
				assert.equal(error?.code, "ERR_USERNS_MOUNT", call);
				assert.equal(error?.errnoCode, "EPERM", call);
				assert.match(error?.message ?? "", /giving the new upper layer the owner and mode of the topmost/);
				assert.match(error?.hint ?? "", /keepUpper: true/);
				assert.deepEqual({ descriptors, mounts }, { descriptors: 0, mounts: 0 }, call);
			}
			const container = await startContainer(top, "pivot", MAP);
			try {
				const table = () => readFileSync(`/proc/${container.pid}/mountinfo`, "utf8");
				const before = table();
				const inside = mountOf({ source: one, target: "/data", mapping: MAP, into: container.pid });
				for (const call of ["setns", "openat2", "move_mount"] as const) {
					const { error, descriptors } = failing(inside, 1, call);
					assert.equal(error?.errnoCode, "EPERM", call);
					assert.equal(descriptors, 0);
					assert.equal(table(), before, call);
				}
				const fine = failing(inside, undefined, "fsopen"); // the control: a call that the mount does not need
				assert.equal(fine.error, null);
				assert.equal(table(), before);
			} finally {
				await container.end();
			}
		}),
);

test(
	"the detached layers of an overlay are attached in a child, as kernels before 6.15 need it, and nowhere else",
	{ needs },
	() =>
		withTmpfs(async (top) => {
			const [one = "", two = ""] = mkdirs(top, "one", "two");
			writeFileSync(join(one, "file"), "");
			// The layers are attached in a child's mount namespace. Kernels since 6.15 take this too, but do not need it.
			const before = readFileSync("/proc/self/mountinfo", "utf8");
			const layers = await Promise.all([one, two].map((source) => mountIdmapped({ source, mapping: MAP })));
			const fds = layers.map(({ fd }) => fd);
			const made = await native().overlay(fds, -1, -1, 0, 0, fds, false, false, 0, 0);
			assert.equal(made.error, 0);
			assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
			for (const layer of layers) layer.close();
			assert.equal(statSync(`/proc/self/fd/${made.fd}/file`).uid, 100000);
			native().close(made.fd);
		}),
);

test(
	"into works on a kernel without PIDFD_GET_MNT_NAMESPACE and NS_GET_MNTNS_ID",
	{
		needs: [...needs, "tool:unshare"],
	},
	() =>
		withTmpfs(async (top) => {
			const [source = ""] = mkdirs(top, "source");
			const container = await startContainer(top, "pivot", MAP);
			answering(undefined, "fsopen"); // compiles the filter
			const ioctl = process.arch === "arm64" ? 29 : 16;
			const filter = `${ioctl}:${0xff03},${ioctl}:${0x8008b705}`;
			try {
				const answer = ask<{ seen: number; unknown: string }>(
					`import fs from "node:fs";
				const pid = ${container.pid};
				const mount = await userns.mountIdmapped({ source: ${JSON.stringify(source)}, target: "/data", mapping: "${MAP}", into: pid });
				const seen = fs.statSync("/proc/" + pid + "/root/data").uid;
				const { unknown } = userns.mounts({ idmapped: true, pid })[0];
				await mount.unmount();
				console.log(JSON.stringify({ seen, unknown }));`,
					{ prefix: [join(folder as string, "deny"), filter] },
				);
				assert.deepEqual(answer, {
					seen: 100000,
					unknown: "map unknown on this kernel (Linux 6.15 and later report it)",
				});
				assert.ok(!readFileSync(`/proc/${container.pid}/mountinfo`, "utf8").includes("idmapped"));
			} finally {
				await container.end();
			}
		}),
);

test("20 concurrent mounts succeed with 40 free descriptors", { needs: [...needs, "tool:prlimit"] }, () =>
	withTmpfs((top) => {
		const source = mkdirs(top, "source")[0] as string;
		const targets = mkdirs(top, ...Array.from({ length: 20 }, (_, i) => `target-${i}`));
		const seen = ask<number[]>(
			`import fs from "node:fs";
			import { spawnSync } from "node:child_process";
			spawnSync("prlimit", ["--pid", String(process.pid), "--nofile=40:40"]);
			if (!/^Max open files +40 /m.test(fs.readFileSync("/proc/self/limits", "utf8"))) throw new Error("no limit");
			const targets = ${JSON.stringify(targets)};
			const handles = new userns.Handles();
			for (const target of targets) {
				const mount = await userns.mountIdmapped({ source: ${JSON.stringify(source)}, target, mapping: "${MAP}", handles });
				mount.close();
			}
			const seen = targets.map((target) => fs.statSync(target).uid);
			for (const target of targets) userns.unmount(target);
			console.log(JSON.stringify(seen));`,
		);
		assert.deepEqual(
			seen,
			targets.map(() => 100000),
		);
	}),
);

test(
	"many mounts of every kind leave the descriptors, mounts and processes as before",
	{
		needs: [...needs, "linux:6.15", "fs:overlay", "tool:unshare"],
		timeout: LONG ? 600_000 : 60_000,
	},
	() =>
		withEverything(async ({ source, plain, target, old }) => {
			const rounds = LONG ? 1000 : 200; // of five mounts each
			const container = await startContainer(join(source, ".."), "pivot", MAP);
			try {
				const before = readFileSync(`/proc/${container.pid}/mountinfo`, "utf8");
				const left = ask<Record<string, number>>(
					`import fs from "node:fs";
				const handles = new userns.Handles();
				const base = { mapping: "${MAP}", handles };
				const [source, plain, target, old, pid] = ${JSON.stringify([source, plain, target, old, container.pid])};
				const round = async () => {
					for (const options of [{ source: plain, target }, { source, target, recursive: true },
							{ source: plain, target: "/data", into: pid }, { source: plain }]) {
						const mount = await userns.mountIdmapped({ ...base, ...options });
						await mount.unmount();
					}
					const layered = await userns.overlay({ ...base, lower: [plain, old], target });
					await layered.unmount();
				};
				const count = () => ({
					descriptors: fs.readdirSync("/proc/self/fd").length,
					mounts: fs.readFileSync("/proc/self/mountinfo", "utf8").split("\\n").length,
					processes: readChildren().length,
				});
				await round();
				const first = count();
				for (let i = 0; i < ${rounds}; i++) await round();
				const last = count();
				handles.release();
				console.log(JSON.stringify({ descriptors: last.descriptors - first.descriptors, mounts: last.mounts - first.mounts, processes: last.processes - first.processes }));`,
				);
				assert.deepEqual(left, { descriptors: 0, mounts: 0, processes: 0 });
				assert.equal(readFileSync(`/proc/${container.pid}/mountinfo`, "utf8"), before);
			} finally {
				await container.end();
			}
		}),
);
