// Runs the parsers, or the C functions that take bytes, with generated inputs for a given time. Findings are stored in
// test/fuzz/corpus, and `npm test` runs them from then on. The exit status is 1 if there is a finding.
import { parseArgs } from "node:util";
import { build } from "./build.mjs";

const USAGE = `npm run test:fuzz -- [--seconds N] [--seed N] [--target NAME]… [--native | --sanitized]

  --seconds N    for each target (default: 600)
  --seed N       repeats the random numbers of a run
  --target NAME  this one only; may be given several times
  --native       instead of the parsers, the functions in C that take bytes: libFuzzer, with clang
  --sanitized    instead, the tests with the C part under AddressSanitizer and UndefinedBehaviorSanitizer;
                 --target names a folder of dist/test (default: system, lifecycle, rootless, cli)
`;
const FOLDERS = ["system", "lifecycle", "rootless", "cli"];

function wrongUsage(message) {
	console.error(`userns: ${message}\n\n${USAGE}`);
	process.exit(2);
}

function whole(text, name) {
	if (!/^\d{1,9}$/.test(text)) wrongUsage(`--${name} must be a whole number, not ${text}`);
	return Number(text);
}

function read() {
	try {
		return parseArgs({
			options: {
				seconds: { type: "string", default: "600" },
				seed: { type: "string", default: String(Date.now() % 0x7fffffff) },
				target: { type: "string", multiple: true, default: [] },
				native: { type: "boolean", default: false },
				sanitized: { type: "boolean", default: false },
				help: { type: "boolean", short: "h", default: false },
			},
		}).values;
	} catch (error) {
		return wrongUsage(error.message);
	}
}

const { seconds, seed, target: names, native, sanitized, help } = read();
if (help) {
	console.log(USAGE);
	process.exit(0);
}
if (native && sanitized) wrongUsage("--native and --sanitized cannot be used together");
const wanted = { seconds: whole(seconds, "seconds"), seed: whole(seed, "seed"), names };
await build();
if (native) await (await import("./fuzz/harnesses.mjs")).fuzzHarnesses(wanted);
else if (sanitized) (await import("./fuzz/sanitized.mjs")).testSanitized(names.length > 0 ? names : FOLDERS);
else await (await import("./fuzz/parsers.mjs")).fuzzParsers(wanted);
