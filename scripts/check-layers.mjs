// The tree is the architecture diagram: a folder may import only from those named behind it.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import { root } from "./setup.mjs";

const MAY_IMPORT = {
	"errors.ts": [],
	"options.ts": ["errors.ts"],
	"programs.ts": ["options.ts"],
	mapping: ["errors.ts", "options.ts"],
	native: ["errors.ts", "mapping"],
	subid: ["errors.ts", "options.ts", "programs.ts", "mapping", "native"],
	namespace: ["errors.ts", "options.ts", "programs.ts", "mapping", "native", "subid"],
	mount: ["errors.ts", "options.ts", "mapping", "native", "namespace"],
	inspect: ["errors.ts", "mapping", "native", "namespace", "mount", "subid"],
	"index.ts": ["errors.ts", "mapping", "native", "namespace", "mount", "subid", "inspect"],
	cli: ["index.ts"],
};
/** The only packages and the folders that may use them: everything else is Node's own. */
const PACKAGES = { cli: ["commander"] };

/** `import … from "x"` and `export … from "x"`; `import("x")`; `import "x"`. */
const IMPORTS =
	/^(?:import|export)\b[^;"]*?\bfrom\s+"([^"]+)"|\bimport\s*\(\s*"([^"]+)"|^import\s+"([^"]+)"/gm;

export function checkLayers() {
	const source = join(root, "src");
	const wrong = [];
	let count = 0;
	for (const entry of readdirSync(source, { recursive: true, withFileTypes: true })) {
		if (!entry.isFile() || !entry.name.endsWith(".ts")) continue;
		const file = join(entry.parentPath ?? entry.path, entry.name);
		const from = relative(source, file);
		const layer = from.split("/")[0];
		const allowed = MAY_IMPORT[layer];
		if (allowed === undefined) {
			wrong.push(`${from}: the folder has no place in the layers`);
			continue;
		}
		for (const [, statement, call, bare] of readFileSync(file, "utf8").matchAll(IMPORTS)) {
			const target = statement ?? call ?? bare;
			count++;
			if (target.startsWith("node:")) continue;
			if (!target.startsWith(".")) {
				if (!PACKAGES[layer]?.includes(target)) wrong.push(`${from} imports the package ${target}`);
				continue;
			}
			const to = relative(source, normalize(join(dirname(file), target))).split("/")[0];
			if (to !== layer && !allowed.includes(to))
				wrong.push(`${from} imports ${target}: ${layer} must not know ${to}`);
		}
	}
	if (wrong.length > 0) {
		console.error(`Arrows that point the wrong way:\n  ${wrong.join("\n  ")}`);
		process.exit(1);
	}
	console.log(`layers: ${count} imports, all one way`);
}

if (process.argv[1] === new URL(import.meta.url).pathname) checkLayers();
