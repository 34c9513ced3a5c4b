// Runs the tests in emulated machines with Debian's kernel, on x86-64 and on arm64.
//   test-kernels.mjs [--arch amd64|arm64 …] [--long] [FILE.test.js …]
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "./build.mjs";
import { makeDisks } from "./kernels/disk.mjs";
import { emulate } from "./kernels/emulate.mjs";
import { MACHINES } from "./kernels/machines.mjs";
import { root } from "./setup.mjs";
import { testFiles } from "./test.mjs";

/** The tests multiply their time limits by it, because an emulated CPU is slow. */
const SLOWER = 30;
/** The minutes after which a machine is stopped. */
const MINUTES = { short: 20, long: 120 };

/** Tests that use every system call of the C part: creation, reading back, mounts, programs in a namespace. */
const SHORT = ["kernel-facts", "handles", "user-namespace", "mount", "spawn-unshare"].map(
	(name) => `dist/test/system/${name}.test.js`,
);
const LONG = ["system", "fault", "lifecycle", "rootless", "unit"];
/** The machine has all of these, so a test that is skipped because one of them is missing fails. */
const PROMISED = `linux root mounts user loop ordinary ids busybox ${[
	...["cc", "unshare", "nsenter", "setpriv", "lsns", "script", "bash", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs"],
	...["mkfs.vfat", "mkfs.erofs", "mksquashfs", "newuidmap", "getsubids", "setcap", "bwrap", "crun", "runc"],
]
	.map((tool) => `tool:${tool}`)
	.join(" ")}`;

function readArguments() {
	const { values, positionals } = parseArgs({
		options: {
			arch: { type: "string", multiple: true, default: Object.keys(MACHINES) },
			long: { type: "boolean", default: process.env.USERNS_LONG === "1" },
		},
		allowPositionals: true,
	});
	for (const arch of values.arch) {
		if (!Object.hasOwn(MACHINES, arch))
			throw new Error(`there is no emulated machine for the architecture ${arch}`);
	}
	const form = values.long ? "long" : "short";
	return { archs: values.arch, form, files: positionals };
}

/** Ends the process if a program that the script needs is missing. */
function checkTools(archs) {
	const tools = ["apt-get", "dpkg-deb", "mkfs.ext4", "tar", "npm"];
	for (const { emulator, compiler } of archs.map((arch) => MACHINES[arch])) {
		tools.push(emulator, compiler ?? "cc");
	}
	const missing = tools.filter((tool) => spawnSync("sh", ["-c", 'command -v "$1"', "sh", tool]).status !== 0);
	if (process.geteuid() === 0 && missing.length === 0) return;
	const what = missing.length > 0 ? `these are not installed: ${missing.join(", ")}` : "this needs root";
	console.error(`userns: ${what}\nhint: docs/kernel-features.md says what it takes to run this.`);
	process.exit(1);
}

/** Returns the script of the machine. It runs one file at a time, because two would only slow each other down. */
function script(files) {
	return `
export USERNS_SLOWER=${SLOWER} USERNS_PRIVATE_MOUNTS=1
export USERNS_PROMISED=${JSON.stringify(PROMISED)}
exec unshare --mount --propagation private node --test --test-concurrency=1 \\
	--test-reporter=spec --test-reporter-destination=stdout \\
	--test-reporter=./scripts/skipped.mjs --test-reporter-destination=stdout ${files.join(" ")}
`;
}

/** Returns the totals that the reporter "spec" has printed. */
function totals(lines) {
	const count = (name) =>
		Number(lines.map((line) => new RegExp(`^ℹ ${name} (\\d+)$`).exec(line)?.[1]).find(Boolean) ?? 0);
	return { tests: count("tests"), passed: count("pass"), failed: count("fail"), skipped: count("skipped") };
}

const work = mkdtempSync(join(tmpdir(), "userns-kernels-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));
// Without a handler, a signal ends this process without "exit", and the machine would keep running.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

const { archs, form, files } = readArguments();
checkTools(archs);
await build();
const cache = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "userns-kernels");
const chosen = files.length > 0 ? files : form === "short" ? SHORT : testFiles(LONG);
for (const file of chosen) if (!existsSync(join(root, file))) throw new Error(`there is no ${file}`);
const results = [];
for (const arch of archs) {
	const folder = mkdtempSync(join(work, `${arch}-`));
	console.log(`\n${arch}: making the disks`);
	const disks = await makeDisks(arch, script(chosen), folder, cache);
	const start = Date.now();
	console.log(`${arch}: Linux ${disks.version}, emulated`);
	const { status, lines } = await emulate(arch, disks, folder, MINUTES[form] * 60);
	const seconds = Math.round((Date.now() - start) / 1000);
	results.push({ kernel: disks.version, ...totals(lines), seconds, ended: status ?? "never" });
	if (status !== 0) process.exitCode = 1;
}
console.table(results);
