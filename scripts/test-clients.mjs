// Runs test/clients with the oldest and the newest versions of the programs, and writes the table of docs/clients.md.
//   test-clients.mjs [FILE …]
// With names of files in test/clients, such as crun, only these run, and no result is written. Needs root and the network. The
// programs are in root file systems of their own (scripts/runtimes/roots.mjs): nothing is installed on this machine.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { basename, join } from "node:path";
import { build } from "./build.mjs";
import { COLUMNS, versionsOf, writeResults } from "./runtimes/clients.mjs";
import { runNodeTests } from "./runtimes/node-tests.mjs";
import { CACHE, inRoot, makeRoot, PACKAGE_LIST } from "./runtimes/roots.mjs";
import { root } from "./setup.mjs";
import { testFiles } from "./test.mjs";

const only = process.argv.slice(2);

async function runOne(name) {
	const system = makeRoot(name, CACHE);
	const versions = versionsOf(readFileSync(join(system, PACKAGE_LIST), "utf8").trim().split("\n"));
	const log = join(CACHE, `${name.replace(" ", "-")}.log`);
	writeFileSync(log, "");
	console.log(`${name}: running, with the log ${log}`);
	const prepared = { prefix: inRoot(system, [root.replace(/\/$/, "")]), node: "/usr/local/bin/node" };
	const files = testFiles(["clients"]).filter(
		(file) => only.length === 0 || only.includes(basename(file, ".test.js")),
	);
	const lines = await runNodeTests(prepared, files, {}, log);
	const of = (result) => lines.filter((line) => line.result === result);
	for (const { name: test, why } of [...of("failed"), ...of("skipped")]) console.log(`  ${test}: ${why}`);
	console.log(`${name}: ${of("passed").length} passed, ${of("failed").length} failed`);
	return {
		...{ name, date: new Date().toISOString().slice(0, 10), kernel: release().replace(/-.*/, ""), versions },
		...{ passed: of("passed").length, skipped: of("skipped").length },
		failures: of("failed").map((line) => line.name),
	};
}

if (process.platform !== "linux" || process.arch !== "x64" || process.geteuid() !== 0) {
	console.error("userns: this needs Linux on x86-64, and root");
	process.exit(1);
}
await build();
mkdirSync(CACHE, { recursive: true, mode: 0o755 });
const results = [];
for (const name of Object.keys(COLUMNS)) results.push(await runOne(name));
if (results.some(({ failures, skipped }) => failures.length > 0 || skipped > 0)) process.exitCode = 1;
if (only.length === 0) writeResults(results);
