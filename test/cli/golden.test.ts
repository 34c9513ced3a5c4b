import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { UserNamespace } from "../../src/index.ts";
import { root, sh } from "../support/child.ts";
import { mkdirs, withExt4 } from "../support/mounts.ts";
import { test } from "../support/test.ts";

/*
 * Whole outputs on a terminal of 80 columns, as a user sees them. What differs between machines is replaced: pids, inode numbers and IDs
 * of namespaces, and what this machine cannot see.
 */

const needs = [
	"linux:6.18",
	"root",
	"mounts",
	"loop",
	"fs:ext4",
	"tool:mkfs.ext4",
	"tool:script",
	"path:/mnt",
] as const;

/** The file system of the test, whose path has the same length everywhere. */
const FOLDER = "/mnt";

function atTerminal(args: string): string {
	const command = `stty cols 80; PATH=/usr/bin:/bin '${process.execPath}' '${join(root, "dist/src/cli/userns.js")}' ${args} 2>&1`;
	const { stdout, status } = spawnSync("script", ["-qec", command, "/dev/null"], {
		encoding: "utf8",
		stdio: ["ignore", "pipe", "pipe"],
	});
	assert.ok(status === 0 || status === 1 || status === 2 || (status ?? 0) >= 125, `${status}: ${stdout}`);
	return stdout
		.replaceAll("\r\n", "\n")
		.replaceAll(/^not seen.*\n(?:(?: {2}| {11})\S.*\n)*/gm, "")
		.replaceAll(/\b40265\d{5}\b/g, "INODENUMBE")
		.replaceAll(/^id( +)\d+$/gm, "id$1NUMBER")
		.replaceAll(/\b\d+ (userns-enter|userns-init|sleep|node)\b/g, "PID $1");
}

function withWorld(check: (pid: number) => void): Promise<void> {
	return withExt4(async (folder) => {
		const namespace = await UserNamespace.create("0:100000:65536");
		const child = namespace.spawn("sleep", ["1000"], { unshare: ["pid"], stdio: "ignore" });
		namespace.close();
		try {
			sh("mount", "--bind", folder, FOLDER);
			chmodSync(FOLDER, 0o755);
			const [source = "", target = "", far = ""] = mkdirs(FOLDER, "source", "target", LONG);
			for (const [name, uid, gid] of [
				["mapped", 1000, 1000],
				["outside", 70000, 1000],
			] as const) {
				writeFileSync(join(source, name), "");
				chmodSync(join(source, name), 0o640);
				chownSync(join(source, name), uid, gid);
			}
			mkdirs(FOLDER, "empty");
			for (const at of [target, far]) {
				const made = spawnSync(process.execPath, [
					join(root, "dist/src/cli/userns.js"),
					...["mount", "--map", "0:100000:65536", source, at],
				]);
				assert.equal(made.status, 0, String(made.stderr));
			}
			check(child.pid as number);
		} finally {
			sh("umount", "-R", "-l", FOLDER);
			child.kill("SIGKILL");
			await once(child, "close");
		}
	});
}

/** Below the folder: a mount point that is wider than the terminal. */
const LONG = `${"x".repeat(50)}/${"y".repeat(50)}`;

const commands: Record<string, (pid: number) => string> = {
	"mounts with a long mount point": () => "mounts",
	"ls of a process": (pid) => `ls --pid ${pid} --columns namespace,owner,map,setgroups`,
	show: (pid) => `show ${pid}`,
	"doctor for a path that can be mapped": () => `doctor --for mount ${FOLDER}/source`,
	"doctor for a path that cannot": () => "doctor --for mount /proc",
	"doctor for the error of another program": () =>
		"doctor --error 'newuidmap: uid range [0-1) -> [5-6) not allowed'",
	"doctor for an error that does not happen here": () =>
		"doctor --error 'bwrap: setting up uid map: Permission denied'",
	supports: () => `supports ${FOLDER}/source`,
	"explain of a file that the mount does not map": () => `explain ${FOLDER}/target/outside --as 101000`,
	"explain below a long path": () => `explain ${FOLDER}/${LONG}/mapped --as 101000:101000`,
	"map draw": () => "map draw 0:100000:1000,1000:1000:1,1001:101001:64535",
	"a mount without its target": () => `mount --map 0:100000:65536 ${FOLDER}/source ${FOLDER}/nosuch`,
	"a user that does not exist": () => `mount --owner nosuchuser ${FOLDER}/source ${FOLDER}/empty`,
	"umount of a directory": () => `umount ${FOLDER}/source`,
	"an overlap": () => "map check 0:1:1,0:2:1",
	"a program that does not exist": () => "exec --map 0:100000:65536 -- nosuch",
	"a kind that does not exist": () => "exec --map 0:100000:65536 --unshare mount,nosuch true",
	"exec without a mapping": () => "exec",
	"a process that does not exist": () => "ls --pid 4000000",
	"a path that does not exist": () => "explain /nonexistent",
	"a command with a typing error": () => "mont",
	"an option with a typing error": () => "mount --mp x",
	"a wrong choice": () => "doctor --for nothing",
};

test("at a terminal of 80 columns, each command prints what golden.txt has", { needs }, () =>
	withWorld((pid) => {
		const printed = Object.entries(commands).map(([what, args]) => `### ${what}\n${atTerminal(args(pid))}`);
		const file = join(root, "test/cli/golden.txt");
		if (process.env.USERNS_ACCEPT === "1") writeFileSync(file, printed.join("\n"));
		assert.equal(printed.join("\n"), readFileSync(file, "utf8"));
	}),
);
