// Attacks every parser with made-up inputs for a given time, guided by what they reach in the code. What it finds lies in
// test/fuzz/corpus/TARGET afterwards, where `npm test` reads it from then on. Ends with 1 for a crash or a hang.
import { parseArgs } from "node:util";
import { build } from "./build.mjs";

const USAGE = `npm run test:fuzz -- [--seconds N] [--target NAME]… [--seed N]

  --seconds N    for each target (default: 600)
  --target NAME  this one only; may be given several times
  --seed N       repeats the random numbers of a run
`;

function whole(text, name) {
	if (/^\d{1,9}$/.test(text)) return Number(text);
	console.error(`userns: --${name} must be a whole number, not ${text}\n\n${USAGE}`);
	return process.exit(2);
}

function options() {
	try {
		const { values } = parseArgs({
			options: {
				seconds: { type: "string", default: "600" },
				target: { type: "string", multiple: true, default: [] },
				seed: { type: "string", default: String(Date.now() % 0x7fffffff) },
				help: { type: "boolean", short: "h" },
			},
		});
		if (values.help) {
			console.log(USAGE);
			process.exit(0);
		}
		return { ...values, seconds: whole(values.seconds, "seconds"), seed: whole(values.seed, "seed") };
	} catch (error) {
		console.error(`userns: ${error.message}\n\n${USAGE}`);
		return process.exit(2);
	}
}

const COLUMNS = ["target", "inputs", "seconds", "blocks", "answers", "corpus", "slowest", "crashes", "hangs"];

function line(cells) {
	return cells.map((cell, i) => (i === 0 ? cell.padEnd(16) : String(cell).padStart(11))).join("");
}

const { seconds, target: names, seed } = options();
await build();
const { targets } = await import("../dist/test/fuzz/targets/index.js");
const { keep, readCorpus, replaceFound, shown } = await import("../dist/test/fuzz/engine/corpus.js");
const { runTurns } = await import("../dist/test/fuzz/engine/run.js");

for (const name of names) {
	if (!targets.some((target) => target.name === name)) {
		console.error(
			`userns: there is no target ${name}; they are: ${targets.map((each) => each.name).join(", ")}`,
		);
		process.exit(2);
	}
}
const chosen = targets.filter(({ name }) => names.length === 0 || names.includes(name));
console.log(`${seconds} seconds for each of ${chosen.length} targets, seed ${seed}\n`);
console.log(line(COLUMNS));
for (const { name } of chosen) {
	const corpus = readCorpus(name).map(({ bytes }) => bytes);
	const [report] = await runTurns([{ name, seed, milliseconds: seconds * 1000, guided: true, corpus }]);
	const { inputs, blocks, answers, slowest, problems } = report;
	const of = (kind) => problems.filter((problem) => problem.kind === kind).length;
	// A run that was cut short knows nothing of what the others reached.
	if (of("hang") === 0) replaceFound(name, report.corpus);
	const kept = readCorpus(name).length;
	const slow = `${slowest.toFixed(1)} ms`;
	console.log(
		line([name, inputs, report.seconds.toFixed(0), blocks, answers, kept, slow, of("crash"), of("hang")]),
	);
	for (const { kind, bytes, message } of problems) {
		console.log(`  ${kind}: ${message}\n    ${shown(bytes)}\n    kept as ${keep(name, kind, bytes)}`);
		process.exitCode = 1;
	}
}
