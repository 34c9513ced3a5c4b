// The command in one file (docs/adr/032-one-file.md, docs/adr/054-one-bundle.md).
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build, transformSync } from "esbuild";
import { writeManualPages } from "./man-pages.mjs";
import { root } from "./setup.mjs";

const source = join(root, "dist/src");
const folder = join(source, "cli");
const command = join(folder, "userns.cjs");

/** A dependency that is bundled with the command keeps its notice. */
function notices() {
	const text = readFileSync(join(root, "node_modules/commander/LICENSE"), "utf8").trim();
	return `/*!\nContains commander:\n\n${text}\n*/`;
}

/**
 * Modules of Node that are loaded at the first use of one of their exports, because Node's start-up does not load them:
 * `child_process`, `tty` and `worker_threads` bring sockets and streams with them, and take 4 to 6 ms each.
 */
const LAZY = ["child_process", "module", "os", "timers/promises", "tty", "worker_threads"];

const lazyModules = {
	name: "lazy modules",
	setup({ onResolve, onLoad }) {
		const namespace = "lazy";
		onResolve({ filter: new RegExp(`^node:(${LAZY.join("|")})$`) }, ({ path, ...from }) =>
			from.namespace === namespace ? { path, external: true } : { path, namespace },
		);
		onLoad({ filter: /./, namespace }, async ({ path }) => {
			const names = JSON.stringify(Object.keys(await import(path)));
			const getter = `{ enumerable: true, get: () => require("${path}")[name] }`;
			return { contents: `for (const name of ${names}) Object.defineProperty(exports, name, ${getter});` };
		});
	},
};

function bundle() {
	return build({
		absWorkingDir: root,
		entryPoints: [join(folder, "main.js")],
		outfile: command,
		bundle: true,
		platform: "node",
		target: "node20",
		minify: true, // half of the package would be the command otherwise
		format: "cjs", // starts without the loader of ES modules, a tenth of all the time
		logLevel: "warning",
		define: { "import.meta.url": "bundleUrl" },
		banner: {
			js: `#!/usr/bin/env node\n${notices()}\nconst bundleUrl = require("node:url").pathToFileURL(__filename).href;`,
		},
		plugins: [lazyModules],
	});
}

/** Comments are a fifth of the library's JavaScript. Its declarations keep them, because editors show them. */
function dropComments() {
	for (const name of readdirSync(source, { recursive: true })) {
		if (!name.endsWith(".js")) continue;
		const file = join(source, name);
		const { code } = transformSync(readFileSync(file, "utf8"), { target: "node20", sourcefile: file });
		writeFileSync(file, code);
	}
}

/** The headers of Node-API, so that `userns build` compiles without other packages. */
function copyHeaders() {
	const from = join(root, "node_modules/node-api-headers");
	const to = join(root, "dist/include");
	mkdirSync(to, { recursive: true });
	for (const name of ["js_native_api.h", "js_native_api_types.h", "node_api.h", "node_api_types.h"]) {
		copyFileSync(join(from, "include", name), join(to, name));
	}
	copyFileSync(join(from, "LICENSE"), join(to, "LICENSE"));
}

export async function bundleCommand() {
	await writeManualPages();
	copyHeaders();
	dropComments();
	await bundle();
	chmodSync(command, 0o755);
}
