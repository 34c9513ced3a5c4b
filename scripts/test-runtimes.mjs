// Runs the tests with the runtimes of scripts/runtimes/table.mjs, and writes their results and the table of README.md.
//   test-runtimes.mjs [--again] [NAME …]
// With --again, only the tests that failed in the last run of everything run again, for example on a machine that was too busy.
import { spawnSync } from "node:child_process";
import {
	chmodSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	renameSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { release } from "node:os";
import { basename, join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "./build.mjs";
import { quiet } from "./kernels/packages.mjs";
import { MUSL_NODE } from "./runtimes/musl.mjs";
import { logged, parse, runNodeTests } from "./runtimes/node-tests.mjs";
import { CACHE, inRoot, libcOf, makeRoot } from "./runtimes/roots.mjs";
import { RUNTIMES, readResults, writeResults, writeTable } from "./runtimes/table.mjs";
import { root } from "./setup.mjs";
import { testFiles } from "./test.mjs";
import { installTestPackages } from "./test-packages.mjs";

/** Returns the newest version of a package of npm in a range. */
function newest(name, range) {
	const versions = [JSON.parse(quiet("npm", ["view", `${name}@${range}`, "version", "--json"]))].flat();
	const numbers = (version) => version.split(".").map(Number);
	const compare = ([a, ...as], [b, ...bs]) => (a === undefined ? 0 : a - b || compare(as, bs));
	return versions.sort((a, b) => compare(numbers(a), numbers(b))).at(-1);
}

/** Returns the folder of a package of npm in the cache. Its own installation scripts are not run. */
function fetchPackage(name, range) {
	const version = newest(name, range);
	const folder = join(CACHE, `${name.replaceAll(/[@/]/g, "-").replace(/^-/, "")}-${version}`);
	if (existsSync(folder)) return folder;
	const fresh = mkdtempSync(join(CACHE, "new-"));
	try {
		chmodSync(fresh, 0o755);
		const pack = ["pack", "--silent", "--pack-destination", fresh, `${name}@${version}`];
		const archive = join(fresh, quiet("npm", pack, { cwd: fresh }).trim());
		quiet("tar", ["-xzf", archive, "-C", fresh, "--strip-components=1"]);
		rmSync(archive);
		renameSync(fresh, folder);
	} finally {
		rmSync(fresh, { recursive: true, force: true });
	}
	return folder;
}

/** Returns the program, the Node.js that runs node:test where it runs, and the command that enters its root file system. */
function prepare({ package: name, version, program, root: where }) {
	const folders = [root.replace(/\/$/, "")];
	let path = program;
	if (name !== undefined) {
		const folder = fetchPackage(name, version);
		folders.push(folder);
		path = join(folder, program);
	}
	const system = where === undefined ? undefined : makeRoot(where, CACHE);
	const isNode = basename(path).startsWith("node");
	return {
		program: path,
		node: isNode ? path : where === "musl" ? MUSL_NODE : process.execPath,
		prefix:
			system === undefined ? ["unshare", "--mount", "--propagation", "private"] : inRoot(system, folders),
		library: system === undefined ? quiet("getconf", ["GNU_LIBC_VERSION"]).trim() : libcOf(where, system),
	};
}

const fileCommand = (program, file) =>
	basename(program) === "deno" ? [program, "run", "--allow-all", file] : [program, file];

/** What `engines` promises to programs that are CommonJS modules. */
const REQUIRE = `const { Mapping, UserNamespace } = require("userns");
const namespace = UserNamespace.createSync("0:2100000000:10");
if (namespace.mappingSync().id !== Mapping.parse("0:2100000000:10").id) throw new Error("another mapping");
namespace.close();
`;

/** The files of the tests that `npm test` runs. */
function everyFile() {
	const folders = readdirSync(join(root, "dist/test"), { withFileTypes: true });
	return testFiles(folders.filter((entry) => entry.isDirectory()).map(({ name }) => name));
}

const ways = {
	everything: (prepared, log) => runNodeTests(prepared, everyFile(), {}, log),
	suite: async (prepared, log) => {
		const command = fileCommand(prepared.program, "dist/test/runtimes/main.js");
		return parse(await logged(prepared, command, {}, log), "the suite");
	},
	readme: (prepared, log) =>
		runNodeTests(prepared, ["dist/test/docs/readme.test.js"], { USERNS_TEST_RUNTIME: prepared.program }, log),
	require: async (prepared, log) => {
		const folder = mkdtempSync(join(root, "dist/require-"));
		try {
			// Not every runtime resolves a package's own name inside of the package.
			mkdirSync(join(folder, "node_modules"));
			symlinkSync("../../..", join(folder, "node_modules/userns"));
			// Bun takes the paths of the nearest tsconfig.json, and that of this project leads to the sources.
			writeFileSync(join(folder, "tsconfig.json"), "{}");
			const file = join(folder, "program.cjs");
			writeFileSync(file, REQUIRE);
			const { status } = await logged(prepared, fileCommand(prepared.program, file), {}, log);
			const result = status === 0 ? "passed" : "failed";
			return [{ name: 'a CommonJS module calls require("userns")', result, why: `status ${status}` }];
		} finally {
			rmSync(folder, { recursive: true });
		}
	},
};

async function runOne(name) {
	const { runs } = RUNTIMES[name];
	const start = Date.now();
	const log = join(CACHE, `${name}.log`);
	writeFileSync(log, "");
	const prepared = prepare(RUNTIMES[name]);
	const [program, ...args] = [...prepared.prefix, prepared.program, "--version"];
	const version = /\d+\.\d+\.\d+/.exec(spawnSync(program, args, { cwd: root, encoding: "utf8" }).stdout)?.[0];
	if (version === undefined) throw new Error(`${prepared.program} does not run`);
	const lines = [];
	for (const run of runs) {
		const way = ways[run] ?? ((each, file) => runNodeTests(each, testFiles([run]), {}, file));
		lines.push(...(await way(prepared, log)));
	}
	const of = (result) => lines.filter((line) => line.result === result);
	const reasons = {};
	for (const { why } of of("skipped")) reasons[why] = (reasons[why] ?? 0) + 1;
	return {
		...{ name, version, library: prepared.library, kernel: release().replace(/-.*/, "") },
		...{ date: new Date().toISOString().slice(0, 10), ran: runs, passed: of("passed").length },
		skipped: of("skipped").length,
		failures: of("failed").map((line) => line.name),
		reasons,
		seconds: Math.round((Date.now() - start) / 1000),
	};
}

/** The last result after its failed tests ran again. What passed now counts as passed, and is named in `again`. */
async function runAgain(name) {
	const last = readResults().find((each) => each.name === name);
	if (last === undefined || last.failures.length === 0) return last;
	const prepared = prepare(RUNTIMES[name]);
	if (prepared.program !== prepared.node) return runOne(name); // without node:test
	const log = join(CACHE, `${name}.log`);
	const patterns = last.failures.map(
		(test) => `--test-name-pattern=^${test.replaceAll(/[.*+?^${}()|[\]\\/]/g, "\\$&")}$`,
	);
	const lines = await runNodeTests(prepared, [...patterns, ...everyFile()], {}, log);
	const passed = last.failures.filter((test) => {
		const results = lines.filter((line) => line.name === test && line.result !== "skipped");
		return results.length > 0 && results.every(({ result }) => result === "passed");
	});
	return {
		...last,
		passed: last.passed + passed.length,
		failures: last.failures.filter((test) => !passed.includes(test)),
		again: [...(last.again ?? []), ...passed],
	};
}

const { values, positionals: names } = parseArgs({
	options: { again: { type: "boolean", default: false } },
	allowPositionals: true,
});
const unknown = names.find((name) => !Object.hasOwn(RUNTIMES, name));
if (unknown !== undefined || process.platform !== "linux" || process.geteuid() !== 0) {
	const what = unknown === undefined ? "this needs Linux and root" : `there is no runtime ${unknown}`;
	console.error(`userns: ${what}\nhint: The runtimes are ${Object.keys(RUNTIMES).join(", ")}.`);
	process.exit(1);
}
installTestPackages();
await build();
mkdirSync(CACHE, { recursive: true, mode: 0o755 });
for (const name of names.length > 0 ? names : Object.keys(RUNTIMES)) {
	console.log(`${name}: running, with the log ${join(CACHE, `${name}.log`)}`);
	const result = await (values.again ? runAgain : runOne)(name);
	if (result === undefined) throw new Error(`${name} has no result yet`);
	const { passed, failures, skipped, seconds } = result;
	console.log(`${name}: ${passed} passed, ${failures.length} failed, ${skipped} left out, ${seconds} s`);
	for (const failure of failures) console.log(`  FAIL ${failure}`);
	if (failures.length > 0) process.exitCode = 1;
	const others = readResults().filter((each) => each.name !== name);
	const order = Object.keys(RUNTIMES);
	const results = [...others, result].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));
	writeResults(results);
	writeTable(results);
}
