/*
 * Checks that each folder imports or includes only from the folders that the tables below list for it, that every entry of the
 * tables is used, and that docs/architecture.md and the README.md of each folder list the same.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { root } from "./setup.mjs";

const SOURCE = {
	"errors.ts": [],
	"options.ts": ["errors.ts"],
	"permission.ts": ["errors.ts"],
	"find-program.ts": ["options.ts", "permission.ts"],
	mapping: ["errors.ts", "options.ts"],
	native: ["errors.ts", "mapping"],
	subid: ["errors.ts", "permission.ts", "find-program.ts", "mapping"],
	inspect: ["errors.ts", "permission.ts", "find-program.ts", "mapping", "native", "subid"],
	namespace: [
		"errors.ts",
		"permission.ts",
		"options.ts",
		"find-program.ts",
		"mapping",
		"native",
		"inspect",
		"subid",
	],
	mount: ["errors.ts", "permission.ts", "options.ts", "mapping", "native", "inspect", "namespace"],
	doctor: ["errors.ts", "options.ts", "mapping", "inspect", "subid", "namespace", "mount"],
	explain: ["errors.ts", "options.ts", "mapping", "native", "subid", "namespace", "mount"],
	list: ["errors.ts", "permission.ts", "options.ts", "mapping", "native", "namespace", "mount"],
	"index.ts": ["errors.ts", "mapping", "subid", "namespace", "mount", "list", "doctor", "explain"],
	cli: ["index.ts"],
};
/** The packages that a folder may import, besides modules of Node. */
const PACKAGES = { cli: ["commander"] };

const NATIVE = {
	kernel: [],
	proc: ["kernel"],
	child: ["kernel"],
	userns: ["kernel", "proc", "child"],
	mount: ["kernel", "proc", "child"],
	addon: ["kernel", "proc", "child", "userns", "mount"],
	programs: ["kernel"],
};

/** `import … from "x"` and `export … from "x"`; `import("x")`; `import "x"`. */
const IMPORTS =
	/^(?:import|export)\b[^;"]*?\bfrom\s+"([^"]+)"|\bimport\s*\(\s*"([^"]+)"|^import\s+"([^"]+)"/gm;
/** Includes of the project's own headers; system headers are in angle brackets. */
const INCLUDES = /^\s*#\s*include\s+"([^"]+)"/gm;

/** Returns what a TypeScript file imports: paths below src/, or packages. */
function importsOf(file, text) {
	return [...text.matchAll(IMPORTS)]
		.map(([, statement, call, bare]) => statement ?? call ?? bare)
		.filter((target) => !target.startsWith("node:"))
		.map((target) => (target.startsWith(".") ? normalize(join(dirname(file), target)) : `package ${target}`));
}

/** Returns what a C file includes: paths below native/, the only folder in which the compiler searches. */
function includesOf(_file, text) {
	return [...text.matchAll(INCLUDES)].map(([, target]) => target);
}

/** Checks every file below src/ or native/. Returns the number of imports, and adds each wrong one to the list `wrong`. */
function checkFolder(name, extensions, layers, read, wrong) {
	const source = join(root, name);
	let count = 0;
	const used = new Set();
	for (const layer of Object.keys(layers)) {
		if (!existsSync(join(source, layer))) wrong.push(`${name}/${layer} is in the layers and not in the tree`);
	}
	for (const entry of readdirSync(source, { recursive: true, withFileTypes: true })) {
		if (!entry.isFile() || !extensions.test(entry.name)) continue;
		const path = join(entry.parentPath ?? entry.path, entry.name);
		const from = relative(source, path);
		const layer = from.split("/")[0];
		if (layers[layer] === undefined) {
			wrong.push(`${name}/${from}: the folder has no place in the layers`);
			continue;
		}
		for (const target of read(from, readFileSync(path, "utf8"))) {
			count++;
			const [, dependency] = /^package (.*)$/.exec(target) ?? [];
			const to = target.split("/")[0];
			used.add(`${layer} ${to}`);
			if (dependency !== undefined) {
				if (!PACKAGES[layer]?.includes(dependency))
					wrong.push(`${name}/${from} imports the package ${dependency}`);
			} else if (to !== layer && !layers[layer].includes(to)) {
				wrong.push(`${name}/${from} uses ${target}: ${layer} must not know ${to}`);
			}
		}
	}
	for (const [layer, allowed] of Object.entries(layers)) {
		for (const to of allowed) {
			if (!used.has(`${layer} ${to}`))
				wrong.push(`${name}/${layer}: no file uses ${to}, which the layers allow`);
		}
	}
	return count;
}

/** Returns the entries of a list in a document: `errors.ts` and `mapping` of "`errors.ts`, `mapping/`". */
function listed(text) {
	return [...(text ?? "").matchAll(/[\w.-]+/g)]
		.map(([entry]) => entry)
		.filter((entry) => entry !== "nothing");
}

/** Compares the lists in the documents with a table, and adds each wrong one to the list `wrong`. */
function checkDocuments(name, layers, wrong) {
	const picture = readFileSync(join(root, "docs/architecture.md"), "utf8");
	const expect = (where, text, allowed) => {
		if (text === undefined) wrong.push(`${where} does not say what ${name} uses`);
		else if (listed(text).sort().join() !== [...allowed].sort().join())
			wrong.push(`${where} has "${text}", and the layers have "${allowed.join(", ")}"`);
	};
	for (const [layer, allowed] of Object.entries(layers)) {
		const row = new RegExp(`^${name}/${layer.replaceAll(".", "\\.")} +→ (.*)$`, "m").exec(picture);
		expect(`docs/architecture.md, ${name}/${layer},`, row?.[1], allowed);
		if (layer.includes(".")) continue;
		const readme = `${name}/${layer}/README.md`;
		const text = existsSync(join(root, readme)) ? readFileSync(join(root, readme), "utf8") : "";
		const [, line] = /^\*\*May (?:include|import):\*\* ((?:nothing|`[^`]+`(?:, )?)+)\./m.exec(text) ?? [];
		expect(readme, line, allowed);
	}
}

export function checkLayers() {
	const wrong = [];
	const imports = checkFolder("src", /\.ts$/, SOURCE, importsOf, wrong);
	const includes = checkFolder("native", /\.[ch]$/, NATIVE, includesOf, wrong);
	checkDocuments("src", SOURCE, wrong);
	checkDocuments("native", NATIVE, wrong);
	if (wrong.length > 0) {
		console.error(
			`Imports, includes and documents that do not agree with the layers:\n  ${wrong.join("\n  ")}`,
		);
		process.exit(1);
	}
	console.log(`layers: ${imports} imports and ${includes} includes, all one way`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) checkLayers();
