// Everything that must hold: build, lint, layers, analyzer, and every test, in a mount namespace of their own.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { build } from "./build.mjs";
import { checkLayers } from "./check-layers.mjs";
import { root, run } from "./setup.mjs";

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
 * What makes the tests' mounts vanish with them, even when they are killed: a mount namespace from which nothing
 * spreads. Only root gets one.
 */
function privateMounts() {
	if (process.platform !== "linux" || process.geteuid() !== 0) return [];
	const unshare = ["unshare", "--mount", "--propagation", "private"];
	const works = spawnSync(unshare[0], [...unshare.slice(1), "true"], { stdio: "ignore" }).status === 0;
	return works ? unshare : [];
}

export function runTests(folders) {
	const prefix = privateMounts();
	const env = { ...process.env, ...(prefix.length > 0 && { USERNS_PRIVATE_MOUNTS: "1" }) };
	const reporters = ["spec", new URL("./skipped.mjs", import.meta.url).href].flatMap((reporter) => [
		`--test-reporter=${reporter}`,
		"--test-reporter-destination=stdout",
	]);
	const [command, ...args] = [...prefix, process.execPath, "--test", ...reporters, ...testFiles(folders)];
	run(command, args, { env });
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
	await build();
	lint();
	checkLayers();
	if (process.platform === "linux") (await import("./build-native.mjs")).analyzeNative();
	const folders = readdirSync(join(root, "dist/test"), { withFileTypes: true });
	runTests(folders.filter((entry) => entry.isDirectory()).map((entry) => entry.name));
}
