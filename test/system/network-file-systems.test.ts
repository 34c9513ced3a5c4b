import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { doctor, explain, Mapping, mountIdmapped, supports, UsernsError } from "../../src/index.ts";
import { sh, userns } from "../support/child.ts";
import {
	type FileOptions,
	makeFile,
	OPERATIONS,
	type Outcomes,
	setAttributes,
	verdicts,
	World,
} from "../support/explain-world.ts";
import { withTmpfs } from "../support/mounts.ts";
import { OTHER_UID } from "../support/needs.ts";
import { test } from "../support/test.ts";

/*
 * File systems of a server: NFS and 9p with a server on this machine, virtiofs of a server outside it, and FUSE. The kernel does not map
 * the first two, so the fix is carried out at the server. What explain() says is compared with processes, whose rights the server may
 * know better than the kernel.
 */

const needs = ["linux", "root", "mounts", "loop", "fs:ext4", "tool:mkfs.ext4", "tool:cc"] as const;
const OF_NFS = [...needs, "fs:nfs4", "fs:nfsd", "busybox", "tool:unshare", "linux:5.12"] as const;
const OF_9P = [...needs, "fs:9p", "tool:diod", "tool:setpriv"] as const;
const OF_FUSE = [
	...needs,
	"fs:fuse",
	"fs:overlay",
	"tool:mksquashfs",
	"tool:squashfuse",
	"tool:setpriv",
] as const;

interface Served {
	/** The directory, for root and without the server. */
	raw: string;
	/** The same, mounted from the server. */
	target: string;
}

async function until(condition: () => boolean, what: string, child: ChildProcess): Promise<void> {
	for (let i = 0; !condition(); i++) {
		if (i === 1000 || child.exitCode !== null) throw new Error(`${what} did not start`);
		await sleep(20);
	}
}

/** Ends a server, and waits until it has ended. */
async function end(server: ChildProcess): Promise<void> {
	if (server.exitCode !== null || server.signalCode !== null) return;
	const closed = once(server, "close");
	server.kill("SIGKILL");
	await closed;
}

/** A fresh ext4, which NFS can export. */
async function withDisk(body: (folder: string, raw: string, target: string) => Promise<void>): Promise<void> {
	await withTmpfs(async (folder) => {
		chmodSync(folder, 0o755);
		const [image, raw, target] = ["image", "raw", "target"].map((name) => join(folder, name)) as [
			string,
			string,
			string,
		];
		for (const path of [raw, target]) mkdirSync(path);
		sh("truncate", "-s", "32M", image);
		sh("mkfs.ext4", "-q", image);
		sh("mount", "-o", "loop", image, raw);
		await body(folder, raw, target);
	});
}

/**
 * The server of the kernel, in a network namespace of its own, in which it is the only one. Its tables are written here: the client
 * 127.0.0.1, the directory with its options, and the root of the exports. Ends with its standard input.
 */
const NFSD = `set -e
busybox ip link set lo up
mount -t nfsd nfsd /proc/fs/nfsd
cd /proc/fs/nfsd
echo 10 > nfsv4leasetime; echo 10 > nfsv4gracetime
for version in -2 -3 +4; do echo $version > versions || :; done 2>/dev/null
echo "tcp 2049" > portlist
echo 2 > threads
cd /proc/net/rpc
echo "nfsd 127.0.0.1 2147483647 local" > auth.unix.ip/channel
while read -r options; do
	[ "$options" != end ] || break
	set -- $options
	echo "local $RAW 2147483647 $1 $2 $2 0" > nfsd.export/channel
	echo "local 1 \\\\x00000000 2147483647 $RAW" > nfsd.fh/channel
	! grep -q " $TARGET " /proc/self/mountinfo || umount "$TARGET"
	mount -i -t nfs4 127.0.0.1:/ "$TARGET" \\
		-o addr=127.0.0.1,clientaddr=127.0.0.1,vers=4.2,sec=sys,noac,lookupcache=none
	echo ready
done
umount "$TARGET"
echo 0 > /proc/fs/nfsd/threads
umount /proc/fs/nfsd`;

/** NFSEXP_… of <linux/nfsd/export.h>: insecure ports, async, no subtree check, and a number for the file system. */
const EXPORT = 0x2412;
const [ROOT_SQUASH, ALL_SQUASH] = [0x4, 0x8];
const ANONYMOUS = 1234;

type Reexport = (flags: number) => Promise<void>;

async function withNfs(body: (served: Served, reexport: Reexport) => Promise<void>): Promise<void> {
	await withDisk(async (_, raw, target) => {
		const server = spawn("unshare", ["--net", "sh", "-c", NFSD], {
			stdio: ["pipe", "pipe", "inherit"],
			env: { ...process.env, RAW: raw, TARGET: target },
		});
		const closed = once(server, "close");
		const reexport = async (flags: number) => {
			server.stdin.write(`${EXPORT | flags} ${ANONYMOUS}\n`);
			const [said] = await Promise.race([once(server.stdout, "data"), closed.then(() => ["ended"])]);
			assert.equal(`${said}`, "ready\n");
		};
		try {
			await reexport(0);
			// The server refuses some operations in its first seconds (the grace period), which the client repeats until then.
			await writeFile(join(target, "first"), "");
			await rm(join(target, "first"));
			await body({ raw, target }, reexport);
		} finally {
			server.stdin.end("end\n");
			const [status] = await closed;
			assert.equal(status, 0, "the server ends");
		}
	});
}

/** diod(8), which serves `raw`, and its client. `options`: those of the server. */
async function with9p(options: readonly string[], body: (served: Served) => Promise<void>): Promise<void> {
	spawnSync("modprobe", ["--quiet", "9pnet_fd"]);
	await withDisk(async (folder, raw, target) => {
		await with9pOf(folder, raw, target, options, () => body({ raw, target }));
	});
}

async function with9pOf(
	folder: string,
	raw: string,
	target: string,
	options: readonly string[],
	body: () => Promise<void>,
): Promise<void> {
	const socket = join(folder, "socket");
	const args = [
		"--pdeathsig",
		"KILL",
		"diod",
		"-f",
		"-n",
		"-L",
		"stderr",
		"-l",
		socket,
		"-e",
		raw,
		...options,
	];
	const server = spawn("setpriv", args, { stdio: ["ignore", "ignore", "ignore"] });
	try {
		await until(() => existsSync(socket), "diod", server);
		const of = `trans=unix,version=9p2000.L,uname=root,aname=${raw},access=user,cache=none`;
		sh("mount", "-i", "-t", "9p", "-o", of, socket, target);
		await body();
		sh("umount", target);
	} finally {
		await end(server);
		rmSync(socket, { force: true });
	}
}

/** What the kernel, the package and the command say about a directory that cannot be mapped. */
async function assertRefused({ raw, target }: Served, type: string, hint: RegExp): Promise<void> {
	assert.equal((await supports(raw)).supported, true, "the directory of the server can be mapped");
	const answer = await supports(target);
	assert.deepEqual(
		[answer.supported, answer.fsType, answer.mountPoint, answer.reason],
		[false, type, target, `the kernel cannot map mounts of this ${type}: EINVAL (invalid argument)`],
	);
	assert.match(answer.hint ?? "", hint);

	const diagnosis = await doctor({ for: "mount", path: target });
	assert.equal(diagnosis.ok, false);
	assert.deepEqual(
		diagnosis.causes.map(({ id, fix }) => [id, fix]),
		[["file-system", answer.hint]],
	);
	assert.equal((await doctor({ for: "mount", path: raw })).ok, true);

	const before = readFileSync("/proc/self/mountinfo", "utf8");
	const error = await mountIdmapped({ source: target, target: raw, mapping: "0:100000:10" }).then(
		() => undefined,
		(reason) => reason,
	);
	assert.ok(error instanceof UsernsError);
	assert.deepEqual(
		[error.code, error.syscall, error.errnoCode],
		["ERR_USERNS_MOUNT", "mount_setattr", "EINVAL"],
	);
	assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before, "nothing is mounted");

	for (const args of [
		["doctor", "--for", "mount", target],
		["doctor", "--for", "mount", "--try", target],
	]) {
		const { status, stdout } = userns(...args);
		assert.equal(status, 1, stdout);
		assert.match(stdout, new RegExp(`${type} at|EINVAL`));
	}
}

const FILES: readonly Required<Pick<FileOptions, "kind" | "uid" | "gid" | "mode">>[] = [
	{ kind: "file", uid: 0, gid: 0, mode: 0o600 },
	{ kind: "file", uid: 0, gid: 0, mode: 0o644 },
	{ kind: "file", uid: 1, gid: 1, mode: 0o640 },
	{ kind: "file", uid: 1, gid: 1, mode: 0o700 },
	{ kind: "file", uid: ANONYMOUS, gid: ANONYMOUS, mode: 0o600 },
	{ kind: "directory", uid: 0, gid: 0, mode: 0o755 },
	{ kind: "directory", uid: 1, gid: 1, mode: 0o755 },
	{ kind: "directory", uid: 0, gid: 0, mode: 0o777 },
];
/** The directories in which the files are: one of root, one of everybody, and a sticky one. */
const WITHIN = [0o755, 0o777, 0o1777];
/** Users that every machine has: a server can refuse another one. */
const IDS = [0, 1, 2];

/** Makes all files below a directory, and returns their names. */
function makeAll(raw: string): string[] {
	return WITHIN.flatMap((mode) => {
		const folder = `in-${mode.toString(8)}`;
		mkdirSync(join(raw, folder));
		const made = FILES.map((file, i) => {
			const name = join(folder, `f${i}`);
			remake(raw, name, file);
			return name;
		});
		chmodSync(join(raw, folder), mode);
		return made;
	});
}

function remake(raw: string, name: string, file: (typeof FILES)[number]): void {
	const path = join(raw, name);
	rmSync(path, { recursive: true, force: true });
	makeFile(path, file.kind);
	setAttributes(path, file);
}

/**
 * Compares explain() with processes for each file, directory and user. Returns the operations whose answer was not known, and those for
 * which the process got another error.
 */
async function compare(
	served: Served,
	names: readonly string[],
	writable: boolean,
	ids: readonly number[] = IDS,
): Promise<{ unknown: Set<string>; wrong: string[]; known: number }> {
	const unknown = new Set<string>();
	const wrong: string[] = [];
	let known = 0;
	await withTmpfs(async (folder) => {
		const world = new World(folder);
		const room = world.rooms.get("host");
		assert.ok(room !== undefined);
		for (const [index, name] of names.entries()) {
			for (const id of ids) {
				if (writable) remake(served.raw, name, FILES[index % FILES.length] as (typeof FILES)[number]);
				const path = join(served.target, name);
				const subject = { uid: id, gid: id, groups: [] };
				const said: Outcomes = verdicts(await explain(path, { as: subject }));
				const { outcomes: got } = world.attempt(room, subject, path, join(served.raw, name));
				for (const operation of OPERATIONS) {
					if (said[operation] === "unknown") unknown.add(operation);
					else {
						known++;
						if (said[operation] !== got[operation])
							wrong.push(`${id} ${name} ${operation}: ${said[operation]}, not ${got[operation]}`);
					}
				}
			}
		}
	});
	return { unknown, wrong, known };
}

test("NFS cannot be mapped, and the fix is done at the server", { needs: OF_NFS, timeout: 120_000 }, () =>
	withNfs(async ({ raw, target }, reexport) => {
		chmodSync(raw, 0o777);
		await assertRefused({ raw, target }, "nfs4", /exports\(5\), all_squash and anonuid/);
		writeFileSync(join(target, "before"), "");
		assert.equal(statSync(join(raw, "before")).uid, 0);
		await reexport(ALL_SQUASH | ROOT_SQUASH);
		writeFileSync(join(target, "after"), "");
		assert.equal(statSync(join(raw, "after")).uid, ANONYMOUS);
	}),
);

test("9p cannot be mapped, and the fix is done at the server", {
	needs: OF_9P,
	timeout: 120_000,
}, async () => {
	spawnSync("modprobe", ["--quiet", "9pnet_fd"]);
	await withDisk(async (folder, raw, target) => {
		writeFileSync(join(raw, "file"), "");
		await with9pOf(folder, raw, target, [], async () => {
			await assertRefused({ raw, target }, "9p", /directory on the host that 9p shares/);
			assert.equal(statSync(join(target, "file")).uid, 0);
		});
		const mapped = join(folder, "mapped");
		mkdirSync(mapped);
		const mount = await mountIdmapped({ source: raw, target: mapped, mapping: "0:100000:10" });
		await with9pOf(folder, mapped, target, [], async () => {
			assert.equal(statSync(join(target, "file")).uid, 100_000);
			const { uid } = await explain(join(target, "file"));
			assert.deepEqual([uid.disk, uid.visible, uid.stat], [100_000, 100_000, 100_000]);
		});
		await mount.unmount();
	});
});

for (const [what, flags] of [
	["no_root_squash", 0],
	["root_squash", ROOT_SQUASH],
	["all_squash", ROOT_SQUASH | ALL_SQUASH],
] as const) {
	test(`explain agrees with processes on NFS, with ${what}`, { needs: OF_NFS, timeout: 240_000 }, () =>
		withNfs(async (served, reexport) => {
			const names = makeAll(served.raw);
			await reexport(flags);
			const { unknown, wrong } = await compare(served, names, true);
			assert.deepEqual(wrong, []);
			// The kernel asks the server about everything else.
			assert.deepEqual([...unknown].sort(), ["chown", "delete"]);
		}),
	);
}

for (const [what, options] of [
	["the users of the client", []],
	["all users as one", ["-S", "-U", "nobody"]],
] as const) {
	test(`explain agrees with processes on 9p, for ${what}`, { needs: OF_9P, timeout: 240_000 }, () =>
		with9p(options, async (served) => {
			const names = makeAll(served.raw);
			const { wrong, known } = await compare(served, names, true);
			assert.deepEqual(wrong, []);
			assert.ok(known > 50, `${known} answers were known`);
		}),
	);
}

test("a user whom the server of 9p does not know may do nothing", { needs: OF_9P, timeout: 240_000 }, () =>
	with9p([], async (served) => {
		const names = makeAll(served.raw);
		const { wrong, unknown } = await compare(served, names.slice(0, FILES.length), true, [OTHER_UID]);
		assert.deepEqual(wrong, []);
		assert.deepEqual([...unknown], []);
		const { access } = await explain(join(served.target, names[0] as string), { as: `${OTHER_UID}` });
		assert.match(access?.read.reason ?? "", /the server of the 9p file system at/);
	}),
);

for (const options of ["", "allow_other", "allow_other,default_permissions"]) {
	const what = options === "" ? "no option" : options;
	test(`explain agrees with processes on FUSE, with ${what}`, { needs: OF_FUSE, timeout: 240_000 }, () =>
		withDisk(async (folder, raw, target) => {
			const names = makeAll(raw);
			const image = join(folder, "squash");
			sh("mksquashfs", raw, image, "-quiet", "-no-progress", "-no-xattrs");
			const more = options === "" ? [] : ["-o", options];
			const args = ["--pdeathsig", "KILL", "squashfuse", "-f", ...more, image, target];
			const server = spawn("setpriv", args, { stdio: "ignore" });
			const isMounted = () => readFileSync("/proc/self/mountinfo", "utf8").includes(` ${target} `);
			try {
				await until(isMounted, "squashfuse", server);
				const served = { raw: target, target };
				const { wrong, known } = await compare(served, names, false);
				assert.deepEqual(wrong, []);
				assert.ok(known > 50, `${known} answers were known`);
				const { access } = await explain(join(target, names[0] as string), { as: "1" });
				assert.equal(access?.read.reason.includes("without allow_other"), options === "");
				// The type of a mount of another mount namespace is not in this one's table.
				const other = spawn("unshare", ["--mount", "sh", "-c", "echo; exec sleep 1000"]);
				try {
					await once(other.stdout, "data");
					const there = await explain(`/proc/${other.pid}/root${join(target, names[0] as string)}`, {
						as: "0",
					});
					assert.deepEqual([there.mount.fsType, there.access?.read.allowed], ["unknown", null]);
				} finally {
					await end(other);
				}
				// A layer of FUSE, and for comparison one of the disk.
				for (const [lower, allowed] of [
					[target, null],
					[raw, true],
				] as const) {
					const [empty, merged] = [join(folder, "empty"), join(folder, "merged")];
					for (const each of [empty, merged]) mkdirSync(each, { recursive: true });
					sh("mount", "-t", "overlay", "-o", `lowerdir=${lower}:${empty}`, "overlay", merged);
					try {
						const { access: layered, mount } = await explain(join(merged, names[0] as string), { as: "0" });
						assert.deepEqual(
							[mount.fsType, layered?.read.allowed],
							["overlay", allowed],
							layered?.read.reason,
						);
						if (allowed === null)
							assert.ok(layered?.read.reason.includes(` file system at ${target} decides`));
					} finally {
						sh("umount", merged);
					}
				}
			} finally {
				sh("umount", target);
				await end(server);
			}
		}),
	);
}

/** The directories that virtiofsd serves: see SHARED in scripts/kernels/machines.mjs. */
async function withVirtiofs(tag: string, body: (folder: string) => Promise<void>): Promise<void> {
	await withTmpfs(async (folder) => {
		chmodSync(folder, 0o755);
		const target = join(folder, "shared");
		mkdirSync(target);
		sh("mount", "-t", "virtiofs", tag, target);
		await body(target);
		for (const name of ["dir", "in-755", "in-777", "in-1777"])
			rmSync(join(target, name), { recursive: true, force: true });
		sh("umount", target);
	});
}

const OF_VIRTIOFS = [...needs, "virtiofs", "linux:6.12"] as const;

test("a directory of virtiofsd is mapped", { needs: OF_VIRTIOFS, timeout: 120_000 }, () =>
	withVirtiofs("shared", async (target) => {
		const dir = join(target, "dir");
		mkdirSync(dir);
		const answer = await supports(dir);
		assert.deepEqual([answer.supported, answer.fsType], [true, "virtiofs"]);
		assert.equal((await doctor({ for: "mount", path: dir })).ok, true);
		const { status, stdout } = userns("doctor", "--for", "mount", "--try", dir);
		assert.equal(status, 0, stdout);
		makeFile(join(dir, "file"), "file");
		setAttributes(join(dir, "file"), { kind: "file", uid: 5, gid: 6, mode: 0o640 });
		const inside = join(dir, "inside");
		mkdirSync(inside);
		const mount = await mountIdmapped({ source: dir, target: inside, mapping: "0:100000:10" });
		const { uid, gid, mount: shown } = await explain(join(inside, "file"));
		const chain = ({ disk, visible, stat }: typeof uid) => [disk, visible, stat];
		assert.deepEqual(
			[chain(uid), chain(gid)],
			[
				[5, 100_005, 100_005],
				[6, 100_006, 100_006],
			],
		);
		assert.equal(shown.mapping?.id, Mapping.from("0:100000:10").id);
		await mount.unmount();
	}),
);

test(
	"a server of virtiofs that gives every user one ID accepts the map, and --try finds that it is not applied",
	{
		needs: OF_VIRTIOFS,
		timeout: 120_000,
	},
	() =>
		withVirtiofs("squashed", async (target) => {
			assert.equal((await supports(target)).supported, true);
			const { status, stdout } = userns("doctor", "--json", "--try", target);
			assert.equal(status, 1, stdout);
			assert.match(stdout, /"map-not-applied"/);
		}),
);

test("explain agrees with processes on virtiofs", { needs: OF_VIRTIOFS, timeout: 240_000 }, () =>
	withVirtiofs("shared", async (target) => {
		const names = makeAll(target);
		const { wrong, known } = await compare({ raw: target, target }, names, true);
		assert.deepEqual(wrong, []);
		assert.ok(known > 50, `${known} answers were known`);
	}),
);
