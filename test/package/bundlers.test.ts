import assert from "node:assert/strict";
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { sh } from "../support/child.ts";
import { runNode, toolFile, toolsFolder, withConsumer } from "../support/consumer.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "tool:npm", "tool:tar"] as const;
const NAME = `userns.linux-${process.arch}.node`;

/** Creates a namespace and runs a program in it, and prints the program's output. */
const ENTRY = `import { Handles, Mapping } from "userns";
const namespace = new Handles().getSync(Mapping.from("0:2100000000:65536"));
namespace.spawn("id", ["-u"], { stdio: "inherit" }).on("exit", () => namespace.close());
`;

interface Bundler {
	/** The package that is installed. */
	package: string;
	/** A module that writes a bundle of entry.js, with nothing else in its folder. Gets the bundler as `tool`. */
	script: string;
	bundle: string;
	/** Whether the bundler finds the native file. If not, it is copied beside the bundle, as docs/bundlers.md says. */
	finds: boolean;
	/** The module of the package, if it is not its main one. */
	module?: string;
}

const SHORT: Record<string, Bundler> = {
	"esbuild, ES modules": {
		package: "esbuild",
		module: "lib/main.js",
		bundle: "out/bundle.mjs",
		finds: false,
		script: `await tool.build({ entryPoints: ["entry.js"], bundle: true, platform: "node", format: "esm", outfile: "out/bundle.mjs" });`,
	},
	"esbuild, CommonJS": {
		package: "esbuild",
		module: "lib/main.js",
		bundle: "out/bundle.cjs",
		finds: false,
		script: `await tool.build({ entryPoints: ["entry.js"], bundle: true, platform: "node", format: "cjs", outfile: "out/bundle.cjs",
			logOverride: { "empty-import-meta": "silent" } });`,
	},
	rollup: {
		package: "rollup",
		module: "dist/rollup.js",
		bundle: "out/bundle.mjs",
		finds: false,
		script: `const resolveId = (id) => (id === "userns" ? process.cwd() + "/node_modules/userns/dist/src/index.js" : null);
			const bundle = await tool.rollup({ input: "entry.js", external: /^node:/, plugins: [{ name: "userns", resolveId }] });
			await bundle.write({ file: "out/bundle.mjs" });`,
	},
	webpack: {
		package: "webpack",
		module: "lib/index.js",
		bundle: "out/bundle.cjs",
		finds: true,
		script: `await new Promise((done, failed) => tool({ context: process.cwd(), mode: "production", target: "node20",
			entry: "./entry.js", output: { path: process.cwd() + "/out", filename: "bundle.cjs" } },
			(error, stats) => (error || stats.hasErrors() ? failed(error ?? new Error(stats.toString())) : done())));`,
	},
};

const LONG: Record<string, Bundler> = {
	vite: {
		package: "vite",
		module: "dist/node/index.js",
		bundle: "out/entry.js",
		finds: false,
		script: `await tool.build({ configFile: false, logLevel: "error", ssr: { noExternal: true },
			build: { ssr: "entry.js", outDir: "out", target: "node20" } });`,
	},
	rolldown: {
		package: "rolldown",
		module: "dist/index.mjs",
		bundle: "out/bundle.mjs",
		finds: false,
		script: `const bundle = await tool.rolldown({ input: "entry.js", platform: "node" });
			await bundle.write({ file: "out/bundle.mjs" });`,
	},
	"@vercel/ncc": {
		package: "@vercel/ncc",
		module: "dist/ncc/index.js",
		bundle: "out/index.mjs",
		finds: true,
		script: `const { mkdirSync, writeFileSync } = await import("node:fs");
			const { dirname } = await import("node:path");
			const { code, assets } = await (tool.default ?? tool)(process.cwd() + "/entry.js", { quiet: true, cache: false });
			mkdirSync("out", { recursive: true });
			writeFileSync("out/index.mjs", code);
			for (const [name, { source }] of Object.entries(assets)) {
				mkdirSync(dirname("out/" + name), { recursive: true });
				writeFileSync("out/" + name, source);
			}`,
	},
};

/** Moves what was built to a folder that has no node_modules above it, and runs it. */
function runElsewhere(project: string, bundle: string, finds: boolean): string {
	const folder = mkdtempSync(join(tmpdir(), "userns-bundled-"));
	try {
		cpSync(join(project, "out"), join(folder, "out"), { recursive: true });
		const file = join(folder, bundle);
		if (!finds) {
			const native = join(project, "node_modules/userns/prebuilds", NAME);
			copyFileSync(native, join(dirname(file), NAME));
		}
		rmSync(join(project, "node_modules"), { recursive: true });
		return runNode(folder, file);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

for (const [name, bundler] of Object.entries(toolsFolder === undefined ? SHORT : { ...SHORT, ...LONG })) {
	test(`a bundle of ${name} finds the native file ${bundler.finds ? "that the bundler has copied" : "beside it"}`, {
		needs,
		timeout: 300_000,
	}, () => {
		const own = name in SHORT;
		const url = pathToFileURL(
			join(toolFile(bundler.package, own && toolsFolder === undefined), bundler.module ?? ""),
		);
		const script = `import * as all from ${JSON.stringify(url.href)};\nconst tool = all.default ?? all;\n${bundler.script}`;
		withConsumer({ "entry.js": ENTRY, "bundle.mjs": script }, (project) => {
			runNode(project, "bundle.mjs");
			assert.equal(runElsewhere(project, bundler.bundle, bundler.finds), "0\n");
		});
	});
}

test("a bundle without the native file says where it must be copied, and works when that is done", {
	needs,
}, () => {
	const { script } = SHORT["esbuild, ES modules"] as Bundler;
	const url = pathToFileURL(toolFile("esbuild/lib/main.js"));
	const report = `${ENTRY.replace("const namespace", "try {\nconst namespace")}} catch (error) { console.log(error.code, error.hint); }`;
	const files = {
		"entry.js": report,
		"bundle.mjs": `import * as tool from ${JSON.stringify(url.href)};\n${script}`,
	};
	withConsumer(files, (project) => {
		runNode(project, "bundle.mjs");
		const printed = runNode(join(project, "out"), "bundle.mjs");
		const [, from = "", to = ""] = /ERR_USERNS_NATIVE_MISSING .*copy (\S+) to (\S+)\.\n/.exec(printed) ?? [];
		assert.equal(from, `node_modules/userns/prebuilds/${NAME}`, printed);
		copyFileSync(join(project, from), join(to, NAME));
		assert.equal(runNode(join(project, "out"), "bundle.mjs"), "0\n");
	});
});

if (toolsFolder !== undefined) {
	test("@vercel/nft names the native file, and no file that is not there", { needs }, () => {
		const url = pathToFileURL(toolFile("@vercel/nft/out/index.js"));
		const script = `import nft from ${JSON.stringify(url.href)};
			console.log(JSON.stringify([...(await nft.nodeFileTrace(["entry.js"])).fileList]));`;
		withConsumer({ "entry.js": ENTRY, "trace.mjs": script }, (project) => {
			const files: string[] = JSON.parse(runNode(project, "trace.mjs"));
			const folder = join(project, "out");
			for (const file of files) {
				mkdirSync(dirname(join(folder, file)), { recursive: true });
				cpSync(join(project, file), join(folder, file));
			}
			assert.equal(runElsewhere(project, "out/entry.js", true), "0\n");
		});
	});

	test("bun build makes a bundle that finds the native file beside it, and a program that does", {
		needs,
		timeout: 300_000,
	}, () => {
		const bun = toolFile(".bin/bun");
		withConsumer({ "entry.js": ENTRY }, (project) => {
			const env = `cd "$1" && exec "$0" build entry.js --target`;
			sh("sh", "-c", `${env} node --outfile out/bundle.mjs`, bun, project);
			sh("sh", "-c", `${env} bun --compile --outfile out/program`, bun, project);
			assert.ok(existsSync(join(project, "out/program")), readdirSync(join(project, "out")).join());
			copyFileSync(join(project, "node_modules/userns/prebuilds", NAME), join(project, "out", NAME));
			const native = join(project, "node_modules/userns/prebuilds");
			rmSync(native, { recursive: true });
			assert.equal(sh(join(project, "out/program")), "0\n");
			assert.equal(runNode(project, "out/bundle.mjs"), "0\n");
		});
	});
}
