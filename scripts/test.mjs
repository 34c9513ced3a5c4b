// Runs every check: build, lint, layers, words, analyzer, and every test, in a private mount namespace. First installs what the
// tests need, if possible.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "./build.mjs";
import { checkLayers } from "./check-layers.mjs";
import { checkWords } from "./check-words.mjs";
import { root, run } from "./setup.mjs";
import { installTestPackages, printMissingPackages, systemPath } from "./test-packages.mjs";

export function lint() {
	run(process.execPath, [`${root}node_modules/@biomejs/biome/bin/biome`, "ci", "."]);
}

export function testFiles(folders) {
	return folders.flatMap((folder) =>
		readdirSync(join(root, "dist/test", folder))
			.filter((file) => file.endsWith(".test.js"))
			.map((file) => join("dist/test", folder, file)),
	);
}

/**
 * Returns the command for a private mount namespace, so that the mounts of the tests end with them, even if they are
 * killed. Only root can create it.
 */
function privateMounts() {
	if (process.platform !== "linux" || process.geteuid() !== 0) return [];
	const unshare = ["unshare", "--mount", "--propagation", "private"];
	const works = spawnSync(unshare[0], [...unshare.slice(1), "true"], { stdio: "ignore" }).status === 0;
	return works ? unshare : [];
}

/** Runs one file at a time, because each looks for leaked mounts in the mount namespace that its set of tests shares. */
function oneAtATime() {
	const [major, minor] = process.versions.node.split(".").map(Number);
	return major > 20 || minor >= 10 ? ["--test-concurrency=1"] : []; // older versions do not have the option
}

function command(files) {
	const prefix = privateMounts();
	const env = {
		...process.env,
		PATH: systemPath(),
		...(prefix.length > 0 && { USERNS_PRIVATE_MOUNTS: "1" }),
	};
	const reporters = ["spec", new URL("./skipped.mjs", import.meta.url).href].flatMap((reporter) => [
		`--test-reporter=${reporter}`,
		"--test-reporter-destination=stdout",
	]);
	const flags = ["--test", ...oneAtATime(), ...reporters];
	const [program, ...args] = [...prefix, process.execPath, ...flags, ...files];
	return { program, args, env };
}

export function runFiles(files) {
	const { program, args, env } = command(files);
	run(program, args, { env });
}

export function runTests(folders) {
	runFiles(testFiles(folders));
}

/** Runs two sets of tests at the same time, each in its own mount namespace. Their output is not interleaved. */
async function runBeside(...sets) {
	const [first, second] = sets
		.map((folders) => command(testFiles(folders)))
		.map(({ program, args, env }) => {
			const child = spawn(program, args, { cwd: root, env, stdio: ["ignore", "pipe", "inherit"] });
			const start = Date.now();
			const ended = once(child, "close").then(([status]) => [
				status,
				Math.round((Date.now() - start) / 1000),
			]);
			return { child, ended };
		});
	const held = [];
	second.child.stdout.on("data", (chunk) => (first.over ? process.stdout.write(chunk) : held.push(chunk)));
	first.child.stdout.pipe(process.stdout, { end: false });
	const [one, firstTime] = await first.ended;
	first.over = true;
	for (const chunk of held) process.stdout.write(chunk);
	const [two, secondTime] = await second.ended;
	process.stdout.write(`the two halves took ${firstTime} and ${secondTime} s\n`);
	if (one !== 0 || two !== 0) process.exitCode = 1;
}

/** The folders that take about half of the time. An ordinary user leaves out most tests of some. */
const HALF =
	process.geteuid?.() === 0
		? ["fault", "soak", "system"]
		: ["fault", "lifecycle", "package", "soak", "system"];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	installTestPackages();
	printMissingPackages();
	await build();
	lint();
	checkLayers();
	checkWords();
	(await import("./declarations.mjs")).checkApi();
	if (process.platform === "linux") (await import("./build-native.mjs")).analyzeNative();
	const folders = readdirSync(join(root, "dist/test"), { withFileTypes: true });
	const names = folders.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
	await runBeside(
		names.filter((name) => !HALF.includes(name)),
		names.filter((name) => HALF.includes(name)),
	);
	printMissingPackages();
}
