// Runs the tests on other kernels.
//   test-kernels.mjs [--kernel NAME …] [--short [--if-possible]] [--jobs N] [--verbose] [FOLDER | FILE.test.js …]
// NAME: see KERNELS in kernels/machines.mjs. The result of a whole folder is written into docs/kernel-features.md.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "./build.mjs";
import { CROSS } from "./build-native.mjs";
import { makeBase } from "./kernels/base.mjs";
import { CACHE } from "./kernels/cache.mjs";
import { makeProject } from "./kernels/disk.mjs";
import { makeKernel } from "./kernels/kernel.mjs";
import { runMachine } from "./kernels/machine.mjs";
import { ARCHITECTURES, KERNELS, TOOLS as MACHINE_TOOLS, USUAL } from "./kernels/machines.mjs";
import { FOLDERS, writeResult } from "./kernels/results.mjs";
import { root } from "./setup.mjs";
import { testFiles } from "./test.mjs";
import { TOOLS } from "./test-packages.mjs";

/** The tests multiply their time limits by it: a process of User-Mode Linux makes slow system calls, an emulated CPU is slow. */
const SLOWER = { uml: 5, emulated: 30 };
/** The minutes after which a machine is stopped. */
const MINUTES = { uml: 45, emulated: 120 };

/** Tests that use every system call of the C part: creation, reading back, mounts, programs in a namespace. */
const SHORT = ["kernel-facts", "handles", "user-namespace", "mount", "mount-overlay", "spawn-unshare", "pin"];
/** The machine has all of these, so a test that is skipped because one of them is missing fails. */
const PROMISED = [
	...[
		"linux",
		"root",
		"mounts",
		"private-mounts",
		"user",
		"loop",
		"ordinary",
		"ids",
		"busybox",
		"static",
		"path:/mnt",
		"path:/srv",
		"apparmor",
		"fs:9p",
		"fs:nfs4",
		"fs:nfsd",
	],
	...[...TOOLS, ...MACHINE_TOOLS].filter((tool) => !tool.startsWith("aarch64")).map((tool) => `tool:${tool}`),
];

function readArguments() {
	const { values, positionals } = parseArgs({
		options: {
			kernel: { type: "string", multiple: true },
			short: { type: "boolean", default: false },
			"if-possible": { type: "boolean", default: false },
			jobs: { type: "string", default: "1" },
			verbose: { type: "boolean", default: false },
		},
		allowPositionals: true,
	});
	const names = values.kernel ?? (values.short ? ["7.2"] : USUAL);
	for (const name of names) {
		if (!Object.hasOwn(KERNELS, name)) {
			throw new Error(`there is no kernel ${name}: the names are ${Object.keys(KERNELS).join(", ")}`);
		}
	}
	return {
		names,
		positionals,
		short: values.short,
		ifPossible: values["if-possible"],
		jobs: Number(values.jobs),
		verbose: values.verbose,
	};
}

/** Why this machine cannot run those kernels, or undefined. */
function missing(names) {
	const tools = ["apt-get", "dpkg-deb", "mkfs.ext4", "tar", "npm", "cc", "unshare"];
	for (const { uml, arch } of names.map((name) => KERNELS[name])) {
		if (uml && process.arch !== "x64") return "User-Mode Linux needs an x86-64 processor";
		if (uml) continue;
		tools.push(ARCHITECTURES[arch].emulator, "xz");
		if (ARCHITECTURES[arch].arch !== process.arch) tools.push(CROSS[ARCHITECTURES[arch].arch].compiler);
	}
	const absent = tools.filter((tool) => spawnSync("sh", ["-c", 'command -v "$1"', "sh", tool]).status !== 0);
	if (absent.length > 0) return `these are not installed: ${absent.join(", ")}`;
	return process.geteuid() === 0 ? undefined : "this needs root";
}

/** Returns the script of a machine. It runs one file at a time, because two would only slow each other down. */
function script(files, slower) {
	return `
export USERNS_SLOWER=${slower} USERNS_PRIVATE_MOUNTS=1
export USERNS_PROMISED=${JSON.stringify(PROMISED.join(" "))}
grep -q virtio_uml.device /proc/cmdline && USERNS_PROMISED="$USERNS_PROMISED virtiofs"
exec unshare --mount --propagation private node --test --test-concurrency=1 \\
	--test-reporter=spec --test-reporter-destination=stdout \\
	--test-reporter=./scripts/skipped.mjs --test-reporter-destination=stdout \\
	--test-reporter=./scripts/kernels/reporter.mjs --test-reporter-destination=stdout ${files.join(" ")}
`;
}

/** Returns the names of the runs with their files. */
function chooseRuns(positionals, short) {
	if (short) return { short: SHORT.map((name) => `dist/test/system/${name}.test.js`) };
	const folders = positionals.length === 0 ? FOLDERS : positionals.filter((name) => !name.endsWith(".js"));
	const files = positionals.filter((name) => name.endsWith(".js"));
	const runs = Object.fromEntries(folders.map((folder) => [folder, testFiles([folder])]));
	return files.length === 0 ? runs : { ...runs, files };
}

const work = mkdtempSync(join(tmpdir(), "userns-kernels-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));
// Without a handler, a signal ends this process without "exit", and the machines would keep running.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => process.exit(1));

/** Makes or finds what the machines of these kernels need. */
function prepare(names, runs) {
	const kernels = new Map(names.map((name) => [name, makeKernel(name, CACHE)]));
	const disks = new Map();
	for (const name of names) {
		const kind = KERNELS[name].arch ?? "uml";
		if (disks.has(kind)) continue;
		const architecture = KERNELS[name].arch ?? "amd64";
		const slower = SLOWER[KERNELS[name].uml ? "uml" : "emulated"];
		const scripts = Object.fromEntries(
			Object.entries(runs).map(([run, files]) => [run, script(files, slower)]),
		);
		const folder = mkdtempSync(join(work, `${kind}-`));
		const own = names
			.filter((each) => (KERNELS[each].arch ?? "uml") === kind)
			.map((each) => kernels.get(each));
		disks.set(kind, {
			base: join(makeBase(architecture, CACHE), "image"),
			project: makeProject(architecture, kind !== "uml", own, scripts, folder),
		});
	}
	return names.map((name) => ({
		name,
		kernel: kernels.get(name),
		disks: disks.get(KERNELS[name].arch ?? "uml"),
	}));
}

async function runOne({ name, kernel, disks }, run) {
	const start = Date.now();
	const minutes = MINUTES[KERNELS[name].uml ? "uml" : "emulated"];
	const folder = mkdtempSync(join(work, `${name}-`));
	const say = verbose ? (line) => console.log(`  ${line}`) : () => {};
	const { report, lines } = await runMachine(name, kernel, { ...disks, run }, folder, minutes * 60, say);
	const seconds = Math.round((Date.now() - start) / 1000);
	const version = lines.map((line) => /^Linux (\S+) /.exec(line)?.[1]).find(Boolean) ?? name;
	const result = { kernel: name, version, tests: run, seconds, ...(report ?? { ended: "never" }) };
	const wrong = report === undefined || report.failed.length > 0;
	if (wrong) process.exitCode = 1;
	if (!verbose && (wrong || run === "files")) console.log(lines.map((line) => `  ${line}`).join("\n"));
	const said = report
		? `${report.passed} passed, ${report.skipped} left out, ${report.failed.length} failed`
		: "did not end";
	console.log(`Linux ${version}, ${run}: ${said} (${seconds} s)`);
	if (FOLDERS.includes(run)) writeResult(result);
}

const { names, positionals, short, ifPossible, jobs, verbose } = readArguments();
const reason = missing(names);
if (reason !== undefined) {
	console.log(
		`userns: the tests on other kernels are left out: ${reason}\nhint: See docs/kernel-features.md.`,
	);
	process.exit(ifPossible ? 0 : 1);
}
await build();
const runs = chooseRuns(positionals, short);
for (const file of Object.values(runs).flat()) {
	if (!existsSync(join(root, file))) throw new Error(`there is no ${basename(file)}`);
}
let machines;
try {
	machines = prepare(names, runs);
} catch (error) {
	if (!ifPossible) throw error;
	console.log(
		`userns: the tests on another kernel are left out, because it cannot be had:\n${error.message}`,
	);
	process.exit(0);
}
const todo = machines.flatMap((machine) => Object.keys(runs).map((run) => [machine, run]));
await Promise.all(
	Array.from({ length: jobs }, async () => {
		for (let next = todo.shift(); next !== undefined; next = todo.shift()) await runOne(...next);
	}),
);
