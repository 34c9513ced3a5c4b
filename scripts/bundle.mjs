// The library in one file, and the command in another, which imports it (docs/adr/055-library-in-one-file.md).
import { chmodSync, copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { build } from "esbuild";
import { writeManualPages } from "./man-pages.mjs";
import { root } from "./setup.mjs";

const source = join(root, "dist/src");
/** Both are three folders below the package, as src/native/load-addon.ts requires. */
const library = join(source, "library/userns.js");
const command = join(source, "cli/userns.js");

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
		onResolve({ filter: new RegExp(`^node:(${LAZY.join("|")})$`) }, ({ path }) => ({ path, namespace }));
		onLoad({ filter: /./, namespace }, async ({ path }) => {
			const names = JSON.stringify(Object.keys(await import(path)));
			const getter = `{ enumerable: true, get: () => process.getBuiltinModule("${path}")[name] }`;
			return { contents: `for (const name of ${names}) Object.defineProperty(exports, name, ${getter});` };
		});
	},
};

/** The command uses the library as other programs do, through its index. */
const libraryOfCommand = {
	name: "library of the command",
	setup({ onResolve }) {
		onResolve({ filter: /^\.\.\/index\.js$/ }, () => ({ path: "../library/userns.js", external: true }));
	},
};

const common = {
	absWorkingDir: root,
	bundle: true,
	platform: "node",
	target: "node20",
	format: "esm",
	logLevel: "warning",
};

/** Not minified, so that stack traces have the names of functions. */
async function bundleLibrary() {
	const { outputFiles } = await build({
		...common,
		entryPoints: [join(source, "index.js")],
		outfile: library,
		write: false,
		plugins: [lazyModules],
	});
	let { text } = outputFiles[0];
	// esbuild names a class that refers to itself `_NAME`, which `constructor.name` would show.
	for (const [, name] of text.matchAll(/^var (\w+) = class _\1\b/gm)) {
		text = text.replaceAll(new RegExp(`\\b_${name}\\b`, "g"), name);
	}
	mkdirSync(dirname(library), { recursive: true });
	writeFileSync(library, text);
}

function bundleCommand() {
	return build({
		...common,
		entryPoints: [join(source, "cli/main.js")],
		outfile: command,
		minify: true,
		// commander is CommonJS, and requires modules of Node only.
		banner: {
			js: `#!/usr/bin/env node\n${notices()}\nconst require = (name) => process.getBuiltinModule(name);`,
		},
		plugins: [libraryOfCommand, lazyModules],
	});
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

export async function bundle() {
	await writeManualPages();
	copyHeaders();
	await bundleLibrary();
	await bundleCommand();
	chmodSync(command, 0o755);
}
