import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
	chownSync,
	lstatSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	readlinkSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { mountIdmapped, pin, UserNamespace, unmount } from "../../src/index.ts";
import { sh } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { owner, words } from "../support/oci-tests.ts";
import { inCgroup, runToEnd } from "../support/private-mounts.ts";
import { test } from "../support/test.ts";

/* A systemd that runs as process 1 of a container, and one service of it, with UserNamespacePath= of systemd 259. */
const needs = ["linux", "root", "mounts", "tool:systemd-nspawn", "path:/lib/systemd/systemd"] as const;
const FIRST = 2_100_000_000;

/** The version of systemd that systemd-nspawn starts, which is in the same packages. */
function version(): number {
	const { stdout } = spawnSync("systemd-nspawn", ["--version"], { encoding: "utf8" });
	return Number(/^systemd (\d+)/.exec(stdout)?.[1] ?? assert.fail(stdout));
}

/** A root file system with the programs of this machine. */
function makeTree(tree: string): void {
	mkdirs(tree, "etc/systemd/system", "data", "proc", "sys", "dev", "run", "tmp", "var");
	for (const name of readdirSync("/").filter((each) => /^(usr|s?bin|lib(32|64|x32)?)$/.test(each))) {
		if (lstatSync(`/${name}`).isSymbolicLink()) symlinkSync(readlinkSync(`/${name}`), join(tree, name));
		else {
			mkdirSync(join(tree, name));
			sh("mount", "--bind", "-o", "ro", `/${name}`, join(tree, name));
		}
	}
	writeFileSync(join(tree, "etc/machine-id"), `${"0".repeat(31)}1\n`);
	writeFileSync(join(tree, "pinned"), "");
}

const SCRIPT = `readlink /proc/self/ns/user; id -u; id -g; touch /data/systemd 2>&1 | sed "s/.*: //"
setpriv --regid 0 --clear-groups touch /data/new; stat -c %u:%g /data/new`;

/** Both actions end the container. */
const UNIT = `[Unit]
DefaultDependencies=no
SuccessAction=exit-force
FailureAction=exit-force

[Service]
Type=oneshot
User=0
UserNamespacePath=/pinned
StandardOutput=file:/out
ExecStart=/bin/sh /script
`;

test(
	"UserNamespacePath= runs a service in a pinned namespace, with the host's gid; before systemd 259 it is ignored",
	{
		needs,
	},
	() =>
		withTmpfs(async (folder) => {
			const [tree = "", data = "", volume = ""] = mkdirs(folder, "tree", "data", "volume");
			makeTree(tree);
			chownSync(data, 1000, 1000);
			writeFileSync(join(tree, "script"), SCRIPT);
			writeFileSync(join(tree, "etc/systemd/system/userns-test.service"), UNIT);
			const ns = await UserNamespace.create(`0:${FIRST}:65536`, { setgroups: "allow" });
			const path = join(folder, "pinned");
			pin(ns, path);
			const mount = await mountIdmapped({ source: data, target: volume, mapping: `1000:${FIRST}:1` });
			try {
				const name = `userns-test-systemd-${process.pid}`;
				const { stdout, stderr } = runToEnd([
					...[...inCgroup(name), "unshare", "--pid", "--fork", "--mount-proc", "env"],
					...["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "systemd-nspawn", "--quiet"],
					...["--register=no", "--keep-unit", "--private-network", "--console=pipe", `--machine=${name}`],
					...["--bind", `${path}:/pinned`, "--bind", `${volume}:/data`, "--boot", "--directory", tree],
					...["systemd.unit=userns-test.service"],
				]);
				const seen = words(readFileSync(join(tree, "out"), "utf8"));
				if (version() < 259) {
					// The trap of which docs/clients.md warns: the service runs as root of the host.
					assert.deepEqual(seen.slice(0, 3), [readlinkSync("/proc/self/ns/user"), "0", "0"], stdout + stderr);
					return;
				}
				const overflow = "Value too large for defined data type";
				assert.deepEqual(seen, [`user:[${ns.inode}]`, "0", "65534", overflow, "0:0"], stdout + stderr);
				assert.deepEqual(readdirSync(data), ["new"]);
				assert.equal(owner(join(data, "new")), "1000:1000");
			} finally {
				await mount.unmount();
				unmount(path);
				ns.close();
			}
		}),
);
