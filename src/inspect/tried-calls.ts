import { basename } from "node:path";
import { findOwnProgram, lookUp } from "../find-program.ts";
import { DRY_CALLS, native } from "../native/addon.ts";
import { addonFile } from "../native/load-addon.ts";
import { type DryCall, Facts, system } from "./facts.ts";

/** Tries each call from the one with that index on, and prints a digit after it. */
const SCRIPT = `const [, file, from, end] = process.argv;
for (let i = +from; i < +end; i++) require("fs").writeSync(1, String(require(file).dryCall(i)));`;

/** Node.js; not the program of this process if that is another runtime or a single executable, which would start again. */
function nodeProgram(): string | undefined {
	if (/^node(js)?$/.test(basename(process.execPath)) && process.versions.bun === undefined)
		return process.execPath;
	const found = findOwnProgram("node");
	return found?.executable ? found.found : undefined;
}

/**
 * Tries every dry call in a child of this process, which has the same filter. A filter can end the process for a call; the next child then
 * continues after that call.
 */
function refusedCalls(): Set<DryCall> {
	const refused = new Set<DryCall>();
	const program = nodeProgram();
	if (program === undefined) return refused;
	const count = DRY_CALLS.length;
	for (let from = 0; from < count; from++) {
		const { stdout, signal } = lookUp(program, ["-e", SCRIPT, addonFile(), String(from), String(count)]);
		// A module of NODE_OPTIONS may print, too.
		if (!/^[01]*$/.test(stdout ?? "")) break;
		for (const digit of stdout ?? "") {
			const call = DRY_CALLS[from++];
			if (digit === "1" && call !== undefined) refused.add(call);
		}
		const call = DRY_CALLS[from];
		if (signal === null || call === undefined) break;
		refused.add(call);
	}
	return refused;
}

/** Facts whose calls may be tried before they have failed. */
export function safeFacts(): Facts {
	native(); // throws on another platform
	const sources = system();
	const facts = new Facts(sources);
	if (!facts.hasFilter) return facts;
	const refused = refusedCalls();
	return new Facts({ ...sources, dryCall: (call) => refused.has(call) });
}
