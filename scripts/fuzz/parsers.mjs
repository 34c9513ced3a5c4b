// Fuzzes the parsers in TypeScript one after the other, each in a thread with a watchdog (test/fuzz/engine/).
import { line } from "./table.mjs";

const COLUMNS = ["target", "inputs", "seconds", "blocks", "answers", "corpus", "slowest", "crashes", "hangs"];

export async function fuzzParsers({ seconds, names, seed }) {
	const { targets } = await import("../../dist/test/fuzz/targets/index.js");
	const { keep, readCorpus, replaceFound, shown } = await import("../../dist/test/fuzz/engine/corpus.js");
	const { runTurns } = await import("../../dist/test/fuzz/engine/run.js");
	const known = targets.map(({ name }) => name);
	for (const name of names) {
		if (known.includes(name)) continue;
		console.error(`userns: there is no target ${name}; they are: ${known.join(", ")}`);
		process.exit(2);
	}
	const chosen = known.filter((name) => names.length === 0 || names.includes(name));
	console.log(`${seconds} seconds for each of ${chosen.length} targets, seed ${seed}\n`);
	console.log(line(COLUMNS));
	for (const name of chosen) {
		const corpus = readCorpus(name).map(({ bytes }) => bytes);
		const turn = { name, seed, milliseconds: seconds * 1000, guided: true, corpus };
		const [{ inputs, blocks, answers, slowest, problems, seconds: took, corpus: found }] = await runTurns([
			turn,
		]);
		const of = (kind) => problems.filter((problem) => problem.kind === kind).length;
		// A run that was stopped early does not know what the others reached.
		if (of("hang") === 0) replaceFound(name, found);
		const numbers = [
			inputs,
			took.toFixed(0),
			blocks,
			answers,
			readCorpus(name).length,
			`${slowest.toFixed(1)} ms`,
		];
		console.log(line([name, ...numbers, of("crash"), of("hang")]));
		for (const { kind, bytes, message } of problems) {
			console.log(`  ${kind}: ${message}\n    ${shown(bytes)}\n    kept as ${keep(name, kind, bytes)}`);
			process.exitCode = 1;
		}
	}
}
