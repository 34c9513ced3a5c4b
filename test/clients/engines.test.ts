import assert from "node:assert/strict";
import { chownSync, existsSync, lstatSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Mapping, mountIdmapped, pin, UserNamespace, unmount } from "../../src/index.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import type { Need } from "../support/needs.ts";
import { isSince, makeRootfs } from "../support/oci.ts";
import { owner, words } from "../support/oci-tests.ts";
import { type Ended, emptied, inCgroup, runToEnd } from "../support/private-mounts.ts";
import { test } from "../support/test.ts";

/*
 * Engines that prepare a root file system themselves: podman and systemd-nspawn as the host's root, lxc-execute as the
 * container's. docs/clients.md has the rule that these tests measure.
 */
const FIRST = 2_100_000_000;
const MAP = `0:${FIRST}:65536`;
/** The same, and the host's root is visible: it stands for HOST_ROOT on disk. */
const HOST_ROOT = FIRST + 65_536;
const WITH_ROOT = `${MAP},${HOST_ROOT}:0:1`;
/** A volume of 1000 to 1009 on disk, which belongs to the container's 0 to 9. */
const VOLUME_MAP = `1000:${FIRST}:10`;

interface Place {
	/** For the files of the engine. */
	folder: string;
	/** The mount that the engine takes as the root file system. */
	rootfs: string;
	/** The mount that it shows as /data. */
	volume: string;
	name: string;
}

interface Engine {
	needs: readonly Need[];
	/** Whether it prepares the root file system as the host's root. */
	asHostRoot: boolean;
	/** The command before that of the container. */
	command(place: Place, options?: { volume?: string; userns?: string }): string[];
	/** Files that it leaves in the root file system, beside "new" of the script. */
	leaves: readonly string[];
	/** The option for a read-only volume, if a read-only mount alone is not enough. */
	readOnly?(): string | undefined;
	/** What lets it join a namespace that exists. */
	joins: boolean;
}

const ENGINES: Record<string, Engine> = {
	podman: {
		needs: ["tool:podman", "tool:crun"],
		asHostRoot: true,
		command({ folder, rootfs, volume }, { volume: options = "", userns } = {}) {
			const map = userns ? `--userns=ns:${userns}` : Mapping.from(MAP).toString("podman");
			return [
				...["podman", "--root", join(folder, "store"), "--runroot", join(folder, "state")],
				...["--tmpdir", join(folder, "tmp"), "--network-config-dir", join(folder, "network")],
				...["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime", "crun", "run", "--rm"],
				...["--network", "none", "--cgroups", "disabled", "--ulimit", "nofile=1024:1024"],
				...["--ulimit", "nproc=1024:1024", map, "-v", `${volume}:/data${options}`, "--rootfs", rootfs],
			];
		},
		leaves: ["etc/hostname", "etc/hosts", "etc/mtab", "run/.containerenv"],
		// Its crun gives the volume the attributes of the option -v and not those of the mount.
		readOnly: () => (isSince("crun", "1.21") ? ":ro" : undefined),
		joins: true,
	},
	"systemd-nspawn": {
		needs: ["tool:systemd-nspawn", "path:/etc/machine-id"],
		asHostRoot: true,
		command: ({ rootfs, volume, name }) => [
			// Before version 256 it would also use the old version of cgroups of a machine with both.
			...["env", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1"],
			...["systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network", "--pipe"],
			...[`--machine=${name}`, `--private-users=${FIRST}:65536`, "--private-users-ownership=off"],
			...["--bind", `${volume}:/data`, "--directory", rootfs],
		],
		leaves: ["root", "var/log", "var/log/journal"],
		joins: false,
	},
	"lxc-execute": {
		needs: ["tool:lxc-execute"],
		asHostRoot: false,
		command({ folder, rootfs, volume, name }, { userns } = {}) {
			const cgroup = (what: string) => `lxc.cgroup.dir.${what} = ${name}/${what}`;
			const lines = [
				...[`lxc.rootfs.path = dir:${rootfs}`, "lxc.net.0.type = empty", "lxc.mount.auto = proc:mixed"],
				...[`lxc.mount.entry = ${volume} data none bind 0 0`, "lxc.apparmor.profile = unconfined"],
				...[`lxc.idmap = u ${MAP.replaceAll(":", " ")}`, `lxc.idmap = g ${MAP.replaceAll(":", " ")}`],
				...["container", "monitor", "monitor.pivot"].map(cgroup),
				...(userns ? [`lxc.namespace.share.user = ${userns}`] : []),
			];
			writeFileSync(join(folder, "config"), `${lines.join("\n")}\n`);
			const paths = ["-P", folder, "-f", join(folder, "config")];
			return ["lxc-execute", "-n", name, ...paths, "--"];
		},
		leaves: [],
		joins: true,
	},
};

/** $1: a file with a line for root, because lxc-execute calls newuidmap for root too; then the program. */
const SUBIDS = 'for file in subuid subgid; do mount --bind "$0" "/etc/$file" || exit 125; done; exec "$@"';

let count = 0;

/** All files of the root file system on disk but its programs, each with its owner. */
function onDisk(disk: string): Record<string, string> {
	const names = readdirSync(disk, { recursive: true, encoding: "utf8" });
	return Object.fromEntries(
		names
			.filter((name) => !name.startsWith("bin/"))
			.sort()
			.map((name) => {
				const { uid, gid } = lstatSync(join(disk, name));
				return [name, `${uid}:${gid}`];
			}),
	);
}

interface World {
	disk: string;
	data: string;
	before: Record<string, string>;
	run(script: string, options?: { volume?: string; userns?: string }): Ended;
}

/** A root file system of root's and a volume of 1000's, each with a mount, and the engine. */
function withWorld(
	{ command }: Engine,
	{ map, readonly = false }: { map: string; readonly?: boolean },
	body: (world: World) => Promise<void> | void,
): Promise<void> {
	return withTmpfs(async (folder) => {
		const [disk = "", rootfs = "", data = "", volume = "", own = ""] = mkdirs(
			...[folder, "disk", "rootfs", "data", "volume", "engine"],
		);
		makeRootfs(disk);
		mkdirs(disk, "etc", "run", "sys", "tmp", "usr", "var");
		chownSync(data, 1000, 1000);
		const subids = join(folder, "subids");
		writeFileSync(subids, `root:${FIRST}:65536\n`);
		const mounts = [
			await mountIdmapped({ source: disk, target: rootfs, mapping: map }),
			await mountIdmapped({ source: data, target: volume, mapping: VOLUME_MAP, readonly }),
		];
		try {
			await body({
				...{ disk, data, before: onDisk(disk) },
				run(script, options) {
					const name = `userns-test-${process.pid}-${count++}`;
					const place = { folder: own, rootfs, volume, name };
					const before = [...inCgroup(name), "sh", "-c", SUBIDS, subids];
					return runToEnd([...before, ...command(place, options), "/bin/sh", "-c", script]);
				},
			});
		} finally {
			for (const mount of mounts) await mount.unmount();
		}
	});
}

const LOOK = `
cat /proc/self/uid_map /proc/self/gid_map
readlink /proc/self/ns/user
stat -c '%n %u:%g' / /bin/busybox /data
touch /new /data/new && chown 5:6 /data/new`;
const SEEN = [`0 ${FIRST} 65536`, `0 ${FIRST} 65536`];
const OWNERS = ["/ 0:0", "/bin/busybox 0:0", "/data 0:0"];

for (const [name, engine] of Object.entries(ENGINES)) {
	const needs = ["linux", "root", "mounts", "busybox", ...engine.needs] as const;

	test(
		`${name}: with the host's root visible, the root file system is the container's, and disk owners are right`,
		{ needs },
		() =>
			withWorld(engine, { map: WITH_ROOT }, async ({ disk, data, before, run }) => {
				const { status, stdout, stderr } = run(LOOK);
				assert.equal(status, 0, stderr);
				const [uids = "", gids = "", namespace = "", ...owners] = words(stdout);
				assert.deepEqual([uids, gids, owners], [...SEEN, OWNERS]);
				assert.equal(owner(join(data, "new")), "1005:1006");
				const after = onDisk(disk);
				const added = Object.keys(after).filter((path) => !Object.hasOwn(before, path));
				assert.deepEqual(added, [...engine.leaves, "new"].sort());
				assert.equal(after.new, "0:0");
				// Nothing that was there changed, and what the engine added is the container's root's or the host's root's.
				for (const [path, was] of Object.entries(before)) assert.equal(after[path], was, path);
				for (const path of added)
					assert.ok(["0:0", `${HOST_ROOT}:${HOST_ROOT}`].includes(after[path] ?? ""), path);
				assert.deepEqual(await emptied(Number(namespace.replaceAll(/\D/g, ""))), []);
			}),
	);

	test(
		engine.asHostRoot
			? `${name}: without an ID for the host's root, it fails with EOVERFLOW and writes nothing`
			: `${name}: prepares the root file system as the container's root, and needs no ID for the host's`,
		{ needs },
		() =>
			withWorld(engine, { map: MAP }, ({ disk, data, before, run }) => {
				const { status, stdout, stderr } = run(LOOK);
				if (engine.asHostRoot) {
					assert.notEqual(status, 0);
					assert.match(stderr, /value too large for defined data type/i);
					assert.deepEqual(onDisk(disk), before);
					assert.deepEqual(readdirSync(data), []);
				} else {
					assert.equal(status, 0, stderr);
					assert.deepEqual(words(stdout).slice(3), OWNERS);
					assert.deepEqual(onDisk(disk), { ...before, new: "0:0" });
				}
			}),
	);

	test(`${name}: a read-only volume is read-only in the container`, { needs }, (t) =>
		withWorld(engine, { map: WITH_ROOT, readonly: true }, ({ data, run }) => {
			const write = "touch /data/new; cat /proc/self/mountinfo";
			const option = engine.readOnly?.();
			if (option !== undefined) {
				// The trap of which docs/clients.md warns.
				const plain = run(write);
				assert.ok(existsSync(join(data, "new")), plain.stderr);
				rmSync(join(data, "new"));
				t.diagnostic(`${name} makes a read-only volume writable without ${option}`);
			}
			const { stdout, stderr } = run(write, { ...(option !== undefined && { volume: option }) });
			assert.match(stderr, /Read-only file system/);
			assert.match(stdout, / \/data ro,/);
			assert.deepEqual(readdirSync(data), []);
		}),
	);

	if (!engine.joins) continue;
	test(`${name}: runs a container in a pinned namespace`, { needs }, () =>
		withWorld(engine, { map: engine.asHostRoot ? WITH_ROOT : MAP }, async ({ disk, data, run }) => {
			// lxc-execute drops its groups in the namespace.
			const ns = await UserNamespace.create(MAP, { setgroups: "allow" });
			const path = join(disk, "..", "pinned");
			pin(ns, path);
			try {
				const { status, stdout, stderr } = run(`${LOOK}; stat -c %u:%g /etc/* || true`, { userns: path });
				assert.equal(status, 0, stderr);
				assert.deepEqual(words(stdout).slice(0, 6), [...SEEN, `user:[${ns.inode}]`, ...OWNERS]);
				assert.equal(owner(join(data, "new")), "1005:1006");
				// podman takes the namespace's mapping for its own, and leaves what it makes to the host's root.
				const mtab = onDisk(disk)["etc/mtab"];
				assert.equal(mtab, name === "podman" ? `${HOST_ROOT}:${HOST_ROOT}` : undefined);
				if (name === "podman") assert.ok(words(stdout).includes("65534:65534"));
				assert.deepEqual(await emptied(ns.inode), []);
			} finally {
				unmount(path);
				ns.close();
			}
		}),
	);
}
