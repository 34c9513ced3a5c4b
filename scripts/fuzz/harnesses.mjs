// Runs the C functions that take bytes under libFuzzer, AddressSanitizer and UndefinedBehaviorSanitizer. Needs clang with its
// run-time library (Debian: clang and libclang-rt-dev).
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../setup.mjs";
import { line } from "./table.mjs";

const COLUMNS = ["harness", "inputs", "seconds", "edges", "corpus", "findings"];

/** Also tries the name that Debian gives to the newest version. */
function findClang() {
	const names = [
		process.env.CLANG,
		"clang",
		...[22, 21, 20, 19, 18, 17, 16, 15, 14].map((version) => `clang-${version}`),
	];
	const found = names.find(
		(name) => name && spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0,
	);
	if (found !== undefined) return found;
	console.error("userns: there is no clang, and libFuzzer is a part of it");
	console.error("hint: Install it (Debian: apt-get install clang libclang-rt-dev), or set CLANG to yours.");
	return process.exit(1);
}

function compile(clang, sources, output) {
	const sanitizers = ["-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"];
	const result = spawnSync(clang, [...sanitizers, ...sources, "-o", output], { stdio: "inherit" });
	if (result.status !== 0) process.exit(1);
}

function fuzz(program, name, { seconds, seed }) {
	const corpus = join(root, "test/fuzz/corpus", `native-${name}`);
	mkdirSync(corpus, { recursive: true });
	const work = mkdtempSync(join(tmpdir(), "userns-corpus-"));
	const limits = [
		`-max_total_time=${seconds}`,
		`-seed=${seed || 1}`,
		"-timeout=5",
		"-rss_limit_mb=1024",
		"-max_len=16384",
	];
	const run = (...args) =>
		spawnSync(program, args, {
			cwd: work,
			encoding: "utf8",
			stdio: ["ignore", "ignore", "pipe"],
			maxBuffer: 1 << 28,
		});
	try {
		const found = join(work, "found");
		mkdirSync(found);
		const { stderr } = run(...limits, `-artifact_prefix=${corpus}/`, found, corpus);
		const artifacts = [...stderr.matchAll(/Test unit written to (\S+)/g)].map(([, file]) => file);
		// Keeps the smallest set of inputs that reaches the same code.
		const merged = join(work, "merged");
		mkdirSync(merged);
		if (artifacts.length === 0) run("-merge=1", merged, corpus, found);
		for (const file of readdirSync(merged)) {
			const name = join(corpus, `found-${file.slice(0, 12)}`);
			if (!existsSync(name)) renameSync(join(merged, file), name);
		}
		const inputs = /Done (\d+) runs/.exec(stderr)?.[1] ?? [...stderr.matchAll(/^#(\d+)/gm)].at(-1)?.[1] ?? 0;
		const edges = [...stderr.matchAll(/cov: (\d+)/g)].at(-1)?.[1] ?? 0;
		console.log(line([name, inputs, seconds, edges, readdirSync(corpus).length, artifacts.length]));
		if (artifacts.length === 0 && / runs in \d+ second/.test(stderr)) return;
		console.log(stderr.split("\n").slice(-60).join("\n"));
		process.exitCode = 1;
	} finally {
		rmSync(work, { recursive: true });
	}
}

export async function fuzzHarnesses({ seconds, names, seed }) {
	const clang = findClang();
	const { harnesses: known, sourcesOf } = await import("../../dist/test/fuzz/harnesses.js");
	for (const name of names) {
		if (known.includes(name)) continue;
		console.error(`userns: there is no harness ${name}; they are: ${known.join(", ")}`);
		process.exit(2);
	}
	console.log(`${seconds} seconds for each harness, seed ${seed}\n`);
	console.log(line(COLUMNS));
	const work = mkdtempSync(join(tmpdir(), "userns-fuzz-"));
	try {
		for (const name of known.filter((each) => names.length === 0 || names.includes(each))) {
			const program = join(work, name);
			compile(clang, sourcesOf(name), program);
			fuzz(program, name, { seconds, seed });
		}
	} finally {
		rmSync(work, { recursive: true });
	}
}
