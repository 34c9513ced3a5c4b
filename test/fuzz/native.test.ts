import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { SEED } from "../support/arbitrary.ts";
import { test } from "../support/test.ts";
import { corpusFolder, readCorpus } from "./engine/corpus.ts";
import { folder, harnesses, sourcesOf } from "./harnesses.ts";

const run = promisify(execFile);
const SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
const MUTATIONS = 200;

// The short form: the kept inputs and mutations of them, with any compiler. `npm run test:fuzz -- --native` is the long
// form.
test("the C functions that parse bytes run without a finding of AddressSanitizer and UBSan", {
	needs: ["linux", "sanitizers"],
}, async () => {
	const work = mkdtempSync(join(tmpdir(), "userns-native-"));
	const replay = async (name: string) => {
		const program = join(work, name);
		const corpus = `native-${name}`;
		const files = readCorpus(corpus).map((entry) => join(corpusFolder(corpus), entry.name));
		await run("cc", [
			...SANITIZERS,
			...sourcesOf(name),
			"-O0",
			"-g0",
			join(folder, "replay.c"),
			"-o",
			program,
		]);
		const { stdout } = await run(program, [String(SEED), String(MUTATIONS), ...files]);
		assert.ok(files.length > 0, `${name} has no corpus`);
		assert.equal(Number(stdout), files.length * (MUTATIONS + 1), name);
	};
	try {
		await Promise.all(harnesses.map(replay));
	} catch (error) {
		assert.fail(`USERNS_SEED=${SEED} gives this run again: ${(error as Error).message}`);
	} finally {
		rmSync(work, { recursive: true });
	}
});
