import assert from "node:assert/strict";
import {
	chmodSync,
	chownSync,
	lchownSync,
	mkdirSync,
	mkdtempSync,
	readFileSync,
	rmSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { explain, Mapping, mountIdmapped, UserNamespace } from "../../src/index.ts";
import { ask, root, sh } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { withTmpfs } from "../support/mounts.ts";
import { OTHER_UID } from "../support/needs.ts";
import { test } from "../support/test.ts";

const needs = ["root", "mounts", "linux:6.15"] as const;
const MAP = "0:100000:65536";

test(
	"the chain names the first step that does not map an owner, with the gap and the nearest extent",
	{ needs },
	() =>
		withTmpfs(async (folder) => {
			const [source, target, file] = [
				join(folder, "source"),
				join(folder, "target"),
				join(folder, "source/file"),
			];
			mkdirSync(source);
			mkdirSync(target);
			writeFileSync(file, "");
			chownSync(file, 70000, 500);
			const mapping = "0:100000:1000,80000:180000:10";
			(await mountIdmapped({ source, target, mapping })).close();
			const { uid, gid, mount } = await explain(join(target, "file"));
			assert.deepEqual(uid, {
				disk: 70000,
				visible: undefined,
				inside: undefined,
				stat: 65534,
				lost: {
					at: "mount",
					gap: { first: 1000, size: 79000 },
					nearest: { containerID: 80000, hostID: 180000, size: 10 },
					reason: `the map of the mount at ${target} has no uid 70000 on disk: 1000–79999 is not mapped, and the nearest extent is 80000:180000:10`,
				},
				real: false,
			});
			const known = {
				disk: 500,
				visible: 100500,
				inside: 100500,
				stat: 100500,
				lost: undefined,
				real: undefined,
			};
			assert.deepEqual(gid, known);
			assert.ok(mount.idmapped && mount.mapping?.equals(mapping));
			assert.equal(mount.mountPoint, target);
		}),
);

test("65534 is told apart from an owner without an ID, through every combination of maps", { needs }, () =>
	withTmpfs(async (folder) => {
		const source = join(folder, "source");
		mkdirSync(source);
		for (const [disk, mapping, real] of [
			[65534, undefined, true],
			[65534, "65534:65534:1", true],
			[0, "0:65534:1", true],
			[5, "0:65534:1", false],
			[65534, "0:100000:65534", false],
		] as const) {
			const target = join(folder, `target-${disk}-${mapping ?? "none"}`);
			mkdirSync(target);
			writeFileSync(join(source, "file"), "");
			chownSync(join(source, "file"), disk, disk);
			if (mapping === undefined) sh("mount", "--bind", source, target);
			else (await mountIdmapped({ source, target, mapping })).close();
			const { uid, gid } = await explain(join(target, "file"));
			assert.equal(statSync(join(target, "file")).uid, 65534);
			assert.deepEqual([uid.disk, uid.stat, uid.real], [disk, 65534, real], `${disk} ${mapping}`);
			assert.deepEqual([gid.disk, gid.stat, gid.real], [disk, 65534, real], `${disk} ${mapping}`);
		}
	}),
);

test(
	"with a pid, the path is looked up below the root of the process, and the view is that of its namespace",
	{
		needs: [...needs, "tool:unshare"],
	},
	() =>
		withTmpfs(async (folder) => {
			for (const way of ["pivot", "chroot"] as const) {
				const container = await startContainer(folder, way, MAP);
				try {
					sh("nsenter", `--target=${container.pid}`, "--mount", "--root", "chmod", "750", "/data");
					const found = await explain("/data", { in: container.pid, as: "0", chownTo: "5:5" });
					assert.deepEqual([found.uid.visible, found.uid.inside, found.uid.stat], [100000, 0, 0], way);
					assert.ok(found.namespace?.mapping.equals(MAP));
					const { read, create, chown } = found.access ?? assert.fail();
					assert.deepEqual([read.allowed, create.allowed, chown.allowed], [true, true, true]);
					// A link of the container's root leads to the container's /etc, not to the host's.
					await assert.rejects(explain("/host-etc/passwd", { in: container.pid }), {
						code: "ERR_USERNS_EXPLAIN",
					});
					// The host's folder is not there.
					await assert.rejects(explain(join(folder, "none"), { in: container.pid }), { errnoCode: "ENOENT" });
					const user = await explain("/data", {
						in: container.pid,
						as: { uid: 1000, gid: 1000, groups: [0] },
					});
					assert.equal(user.access?.read.allowed, true, "by the group");
					assert.equal(user.access?.create.allowed, false);
					// On the host the path leads to another file, which no command of root may change.
					const no = await explain("/data", { in: container.pid, as: "7", chownTo: "8:8" });
					const { read: look, create: make, delete: remove, chown: give } = no.access ?? assert.fail();
					for (const verdict of [look, make, remove, give]) {
						assert.deepEqual([verdict.allowed, verdict.fix], [false, undefined], verdict.reason);
					}
					const far = await explain("/data", { in: container.pid, as: "0", chownTo: "70000" });
					assert.match(far.access?.chown.fix ?? "", /^choose a uid of the user namespace/);
				} finally {
					await container.end();
				}
			}
		}),
);

test("a directory on the path that may not be searched refuses everything, and is named", { needs }, () =>
	withTmpfs(async (folder) => {
		chmodSync(folder, 0o755);
		mkdirSync(join(folder, "closed/open"), { recursive: true });
		chmodSync(join(folder, "closed"), 0o700);
		writeFileSync(join(folder, "closed/open/file"), "", { mode: 0o666 });
		symlinkSync("closed/open", join(folder, "link"));
		for (const path of ["closed/open/file", "link/file"]) {
			const { access } = await explain(join(folder, path), { as: "1000" });
			for (const verdict of Object.values(access ?? {})) {
				assert.equal(verdict.errno, "EACCES");
				const part = path === "link/file" ? "link" : "closed/open";
				assert.ok(
					verdict.reason.startsWith(`${JSON.stringify(join(folder, part))} cannot be looked up`),
					verdict.reason,
				);
			}
		}
		const { access } = await explain(join(folder, "closed/open/file"), { as: "0" });
		assert.equal(access?.write.allowed, true);
	}),
);

test(
	"a link of another user is not followed, a mount point cannot be deleted, and nothing is changed",
	{ needs },
	() =>
		withTmpfs(async (folder) => {
			chmodSync(folder, 0o755);
			mkdirSync(join(folder, "dir"), { mode: 0o777 });
			symlinkSync("dir", join(folder, "link"));
			lchownSync(join(folder, "link"), OTHER_UID, OTHER_UID);
			await assert.rejects(explain(join(folder, "link")), {
				code: "ERR_USERNS_EXPLAIN",
				message: /another user/,
			});
			sh("mount", "-t", "tmpfs", "userns-test", join(folder, "dir"));
			const before = statSync(join(folder, "dir"), { bigint: true });
			const { access } = await explain(join(folder, "dir"), { as: "0" });
			assert.deepEqual([access?.delete.allowed, access?.delete.errno], [false, "EBUSY"]);
			assert.equal(access?.create.allowed, true);
			const after = statSync(join(folder, "dir"), { bigint: true });
			assert.deepEqual(
				[after.ctimeNs, after.mtimeNs, after.atimeNs],
				[before.ctimeNs, before.mtimeNs, before.atimeNs],
			);
			assert.equal(sh("ls", "-A", join(folder, "dir")), "");
			assert.equal((await explain("/", { as: "0" })).access?.delete.errno, "EBUSY");
			for (const path of ["/proc", "/sys"]) {
				const { access: kernels } = await explain(path, { as: "0" });
				const code = kernels?.create.errno ?? "none";
				assert.throws(() => writeFileSync(`${path}/userns-test`, ""), { code });
			}
		}),
);

test(
	"a name has the user's groups by default, and a capability outside the bounding set does not count",
	{
		needs: [...needs, "tool:setpriv", "tool:getent"],
	},
	() =>
		withTmpfs(async (folder) => {
			chmodSync(folder, 0o755);
			const file = join(folder, "file");
			writeFileSync(file, "");
			chmodSync(file, 0o040);
			const [, name = "", group = ""] =
				/^([^:]+):[^:]*:(\d+):[^:]*$/m.exec(sh("getent", "group", "daemon")) ?? [];
			chownSync(file, 0, Number(group));
			assert.equal((await explain(file, { as: name })).access?.read.allowed, true);
			assert.equal((await explain(file, { as: "54321" })).access?.read.allowed, false);
			const script = `const { access } = await userns.explain(${JSON.stringify(file)}, { as: "0" });
			console.log(JSON.stringify([access.write.allowed, access.chown.allowed]));`;
			assert.deepEqual(ask(script), [true, true]);
			const prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-chown", "--"];
			assert.deepEqual(
				ask(script, { prefix }),
				[false, true],
				"chown to the owner itself needs no capability",
			);
		}),
);

test("an ordinary user may ask about the user's own IDs, and in the user's own namespace", {
	needs: ["linux:6.8", "root", "user"],
}, () => {
	// A file that root alone may read. The modes of the files in /etc are not the same everywhere.
	const folder = mkdtempSync(join(tmpdir(), "userns-explain-"));
	chmodSync(folder, 0o755);
	const secret = join(folder, "secret");
	writeFileSync(secret, "", { mode: 0o600 });
	const script = `const process_ = ${OTHER_UID};
		const own = await userns.explain(${JSON.stringify(secret)}, { as: { uid: process_, gid: process_ } });
		const namespace = await userns.UserNamespace.create("u:0:${OTHER_UID}:1,g:0:${OTHER_UID}:1");
		const child = namespace.spawn("cat", [], { stdio: ["pipe", "pipe", "inherit"] });
		namespace.close();
		child.stdin.write("x");
		await new Promise((resolve) => child.stdout.once("data", resolve));
		const inside = await userns.explain("/etc/passwd", { in: child.pid, as: "0" });
		child.stdin.end();
		const other = await userns.explain("/etc/passwd", { as: "0" }).catch((error) => error.code);
		console.log(JSON.stringify([own.access.read.errno, inside.uid, inside.access.read.allowed, inside.access.chown.errno, other]));`;
	const [read, uid, inside, chown, other] = ask<
		[string, { stat: number; lost: { at: string } }, boolean, string, string]
	>(script, { uid: OTHER_UID, gid: OTHER_UID });
	assert.deepEqual(
		[read, uid.stat, uid.lost.at, inside, chown],
		["EACCES", 65534, "namespace", true, "EPERM"],
	);
	assert.equal(other, "ERR_USERNS_EXPLAIN");
	rmSync(folder, { recursive: true });
});

test("wrong arguments are errors before any call", { needs: ["linux"] }, async () => {
	for (const [path, options] of [
		["", {}],
		["/\0", {}],
		["/", { in: 0 }],
		["/", { in: undefined }],
		["/", { as: "" }],
		["/", { as: "1:a" }],
		["/", { as: "1,2:3" }],
		["/", { as: 5 }],
		["/", { as: { uid: -1 } }],
		["/", { as: { uid: 1, other: 1 } }],
		["/", { as: "1", chownTo: "x" }],
		["/", { as: "1", chownTo: ":" }],
		["/", { as: "1", chownTo: "4294967295" }],
		["/", { chownTo: "1" }],
		["/", { unknown: 1 }],
	] as const) {
		await assert.rejects(
			explain(path, options as never),
			{ code: "ERR_USERNS_INVALID_ARGUMENT" },
			JSON.stringify(options),
		);
	}
	await assert.rejects(explain("/", { as: "no-such-user-here" }), { code: "ERR_USERNS_UNKNOWN_USER" });
	await assert.rejects(explain("/", { in: 0x7fffffff }), { code: "ERR_USERNS_EXPLAIN", errnoCode: "ESRCH" });
});

test("an ID that the namespace does not map cannot be asked for", { needs }, async () => {
	const namespace = await UserNamespace.create("0:100000:10");
	const child = namespace.spawn("cat", [], { stdio: ["pipe", "ignore", "inherit"] });
	namespace.close();
	try {
		const { pid = 0 } = child;
		while (readFileSync(`/proc/${pid}/comm`, "utf8") !== "cat\n")
			await new Promise((done) => setTimeout(done, 5));
		await assert.rejects(explain("/", { in: pid, as: "10" }), { code: "ERR_USERNS_UNMAPPED_ID" });
		assert.ok(
			(await explain("/", { in: pid, as: "9" })).namespace?.mapping.equals(Mapping.from("0:100000:10")),
		);
	} finally {
		child.stdin?.end();
		await new Promise((done) => child.once("close", done));
	}
});

test(
	"without faccessat2(2) the answers that come from it are not known, and no operation is said to be refused",
	{
		needs: [...needs, "tool:cc"],
	},
	() =>
		withTmpfs((folder) => {
			const [deny, file] = [join(folder, "deny"), join(folder, "file")];
			sh("cc", "-O2", "-o", deny, join(root, "test/support/programs/deny.c"));
			writeFileSync(file, "");
			const script = `const { access } = await userns.explain(${JSON.stringify(file)}, { as: { uid: ${OTHER_UID}, gid: ${OTHER_UID} } });
			console.log(JSON.stringify(Object.entries(access).map(([name, { allowed, reason }]) => [name, allowed, reason])));`;
			// The number of faccessat2(2) is the same on every processor.
			for (const [prefix, allowed] of [
				[[], true],
				[[deny, "439=38"], null],
			] as const) {
				const answers = ask<[string, boolean | null, string][]>(script, { prefix });
				const read = answers.find(([name]) => name === "read") ?? assert.fail();
				assert.equal(read[1], allowed);
				if (allowed === null) assert.match(read[2], /faccessat2/);
				const others = answers.filter(([name]) => ["write", "delete"].includes(name));
				assert.deepEqual(
					others.map(([, answer]) => answer),
					allowed === null ? [null, null] : [false, false],
				);
			}
		}),
);
