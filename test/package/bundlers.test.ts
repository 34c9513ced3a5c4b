import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, cpSync, existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { PROGRAM, withConsumer, withPackages } from "../support/consumer.ts";
import { test } from "../support/test.ts";

/*
 * A program is bundled with the package, the bundle is moved away from node_modules, and then it runs. docs/bundlers.md says the
 * same to users.
 */

interface Bundler {
	name: string;
	/** NAME@VERSION of what is installed into the cache. Without packages it is one of the project's own, and the test is not long. */
	packages?: readonly string[];
	/** A module that bundles `entry` into the folder `out`. The current directory is that of the packages. */
	build: string;
	/** What runs, below `out`: an argument of Node, or a program of its own. */
	run: string;
	executable?: boolean;
	/** Whether the bundler copies the native file. If not, the bundle says where to copy it. */
	copies: boolean;
}

const ESBUILD =
	'const esbuild = (format, outfile) => build({ entryPoints: [entry], bundle: true, platform: "node", format, outfile });';

const WEBPACK = `
import { promisify } from "node:util";
import webpack from "webpack";
const settings = { mode: "production", target: "node20", context: project, entry, optimization: { minimize } };
const said = await promisify(webpack)({ ...settings, output: { path: out, filename: "app.cjs" } });
if (said.hasErrors() || said.hasWarnings()) throw new Error(said.toString());
`;

const BUNDLERS: readonly Bundler[] = [
	{
		name: "esbuild, as an ES module",
		build: `import { build } from "esbuild"; ${ESBUILD} await esbuild("esm", out + "/app.mjs");`,
		run: "app.mjs",
		copies: false,
	},
	{
		name: "esbuild, as CommonJS",
		build: `import { build } from "esbuild"; ${ESBUILD} await esbuild("cjs", out + "/app.cjs");`,
		run: "app.cjs",
		copies: false,
	},
	{ name: "webpack", build: `const minimize = false; ${WEBPACK}`, run: "app.cjs", copies: true },
	{
		name: "rollup",
		build: `
			import { rollup } from "rollup";
			const resolve = { name: "resolve", resolveId: (id) => (id === "userns" ? installed + "/dist/src/library/userns.js" : null) };
			const bundle = await rollup({ input: entry, plugins: [resolve], external: /^node:/ });
			await bundle.write({ file: out + "/app.mjs" });`,
		run: "app.mjs",
		copies: false,
	},
	{
		name: "webpack, minimized",
		packages: ["webpack@5.113.0"],
		build: `const minimize = true; ${WEBPACK}`,
		run: "app.cjs",
		copies: true,
	},
	{
		name: "rollup, with its plugin for node_modules",
		packages: ["rollup@4.68.8", "@rollup/plugin-node-resolve@16.0.3"],
		build: `
			import { rollup } from "rollup";
			import { nodeResolve } from "@rollup/plugin-node-resolve";
			const bundle = await rollup({ input: entry, plugins: [nodeResolve()], external: /^node:/ });
			await bundle.write({ dir: out, format: "cjs", entryFileNames: "[name].cjs" });`,
		run: "app.cjs",
		copies: false,
	},
	{
		name: "Vite, as a server with noExternal",
		packages: ["vite@8.3.8"],
		build: `
			import { build } from "vite";
			const settings = { root: project, configFile: false, logLevel: "error", ssr: { noExternal: true } };
			await build({ ...settings, build: { ssr: entry, outDir: out, emptyOutDir: true } });`,
		run: "app.js",
		copies: false,
	},
	{
		name: "Rolldown",
		packages: ["rolldown@1.3.2"],
		build: `
			import { rolldown } from "rolldown";
			const bundle = await rolldown({ input: entry, cwd: project, platform: "node" });
			await bundle.write({ file: out + "/app.mjs" });`,
		run: "app.mjs",
		copies: false,
	},
	{
		name: "ncc",
		packages: ["@vercel/ncc@0.45.0"],
		build: command(
			"process.execPath",
			"./node_modules/@vercel/ncc/dist/ncc/cli.js",
			"build",
			"{entry}",
			"-o",
			"{out}",
		),
		run: "index.js",
		copies: true,
	},
	{
		name: "nft, the file tracer of Vercel",
		packages: ["@vercel/nft@1.11.5"],
		build: `
			import { cpSync } from "node:fs";
			import { nodeFileTrace } from "@vercel/nft";
			const { fileList } = await nodeFileTrace([entry], { base: project });
			for (const name of fileList) cpSync(project + "/" + name, out + "/" + name);`,
		run: "app.js",
		copies: true,
	},
	{
		name: "Bun's bundler",
		packages: ["@oven/bun-linux-x64@1.4.5"],
		build: command(
			"'./node_modules/@oven/bun-linux-x64/bin/bun'",
			"build",
			"--target=node",
			"{entry}",
			"--outdir={out}",
		),
		run: "app.js",
		copies: false,
	},
	{
		name: "bun build --compile",
		packages: ["@oven/bun-linux-x64@1.4.5"],
		build: command(
			"'./node_modules/@oven/bun-linux-x64/bin/bun'",
			"build",
			"--compile",
			"{entry}",
			"--outfile={out}/app",
		),
		run: "app",
		executable: true,
		copies: false,
	},
	{
		name: "a single executable application of Node",
		packages: ["esbuild@0.28.2", "postject@1.0.0-alpha.6"],
		build: `
			import { spawnSync } from "node:child_process";
			import { copyFileSync, chmodSync, writeFileSync, rmSync } from "node:fs";
			import { build } from "esbuild";
			${ESBUILD}
			await esbuild("cjs", out + "/app.cjs");
			const config = { main: out + "/app.cjs", output: out + "/blob", disableExperimentalSEAWarning: true };
			writeFileSync(out + "/sea.json", JSON.stringify(config));
			const run = (program, ...args) => {
				const { status, stderr } = spawnSync(program, args, { encoding: "utf8" });
				if (status !== 0) throw new Error(stderr);
			};
			run(process.execPath, "--experimental-sea-config", out + "/sea.json");
			copyFileSync(process.execPath, out + "/app");
			chmodSync(out + "/app", 0o755);
			const fuse = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";
			const postject = "./node_modules/postject/dist/cli.js";
			run(process.execPath, postject, out + "/app", "NODE_SEA_BLOB", out + "/blob", "--sentinel-fuse", fuse);
			for (const name of ["app.cjs", "blob", "sea.json"]) rmSync(out + "/" + name);`,
		run: "app",
		executable: true,
		copies: false,
	},
];

/** A module that runs a program, an expression, with these arguments. */
function command(program: string, ...args: string[]): string {
	const list = args.map((arg) => JSON.stringify(arg).replace(/\{(\w+)\}/, '" + $1 + "')).join(", ");
	return `
		import { spawnSync } from "node:child_process";
		const { status, stdout, stderr } = spawnSync(${program}, [${list}], { encoding: "utf8" });
		if (status !== 0) throw new Error(stdout + stderr);`;
}

/** The bundle of the program in the project, in a new folder. */
function bundle({ name, packages = [], build }: Bundler, project: string, out: string): void {
	const names = {
		project,
		out,
		entry: join(project, "app.js"),
		installed: join(project, "node_modules/userns"),
	};
	const head = Object.entries(names).map(([key, value]) => `const ${key} = ${JSON.stringify(value)};`);
	mkdirSync(out);
	const cwd = withPackages(name.replace(/\W+/g, "-"), packages);
	const module = `${head.join("\n")}\n${build}`;
	const built = spawnSync(process.execPath, ["--input-type=module", "-e", module], { cwd, encoding: "utf8" });
	assert.equal(built.status, 0, built.stdout + built.stderr);
}

/** Runs it in a directory that has nothing to do with it. */
function start({ run, executable = false }: Bundler, out: string): string {
	const file = join(out, run);
	const [program, ...args] = executable ? [file] : [process.execPath, file];
	const { stdout, stderr } = spawnSync(program as string, args, { cwd: "/", encoding: "utf8" });
	assert.equal(stderr, "");
	return stdout;
}

/** The hint's command: what to copy, and where to. */
const COPY =
	/^Mark userns as external in the bundler, or copy (node_modules\/userns\/prebuilds\/\S+) to (\/\S+)\.$/m;

for (const bundler of BUNDLERS) {
	const { name, packages, copies } = bundler;
	const needs = ["linux", "tool:tar", ...(packages === undefined ? [] : (["long"] as const))] as const;
	const title = copies
		? `a bundle made with ${name} finds the add-on`
		: `a bundle made with ${name} finds the add-on in the place that its hint names`;
	test(title, { needs, timeout: 300_000 }, () =>
		withConsumer({ "app.js": PROGRAM }, (project) => {
			const [built, out, moved] = ["built", "out", "moved"].map((part) => join(dirname(project), part)) as [
				string,
				string,
				string,
			];
			bundle(bundler, project, built);
			// An absolute path in the bundle would lead to nothing.
			cpSync(built, out, { recursive: true });
			rmSync(built, { recursive: true });
			renameSync(project, moved);
			if (!copies) {
				const said = start(bundler, out);
				assert.match(said, /^ERR_USERNS_NATIVE_MISSING\n.*: a bundle lacks the file userns\.linux-/);
				const [, file = "", folder = ""] = COPY.exec(said) ?? assert.fail(said);
				assert.equal(folder, out);
				const copy = join(folder, file.replace(/^.*\//, ""));
				assert.ok(!existsSync(copy));
				copyFileSync(join(moved, file), copy);
			}
			assert.equal(start(bundler, out), "0\n");
		}),
	);
}
