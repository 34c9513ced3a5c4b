// The command in one file: Node takes longer to find and link fifty modules than for all that they do (docs/adr/032).
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";
import { root } from "./setup.mjs";

/** What is bundled with it keeps its notice. */
function notices() {
	const text = readFileSync(join(root, "node_modules/commander/LICENSE"), "utf8").trim();
	return `/*!\nContains commander:\n\n${text}\n*/`;
}

export async function bundleCommand() {
	const outfile = join(root, "dist/src/cli/userns.cjs");
	await build({
		entryPoints: [join(root, "dist/src/cli/main.js")],
		outfile,
		bundle: true,
		platform: "node",
		target: "node20",
		format: "cjs", // starts without the loader of modules, a tenth of all the time
		logLevel: "warning",
		define: { "import.meta.url": "bundleUrl" },
		banner: {
			js: `${notices()}\nconst bundleUrl = require("node:url").pathToFileURL(__filename).href;`,
		},
	});
	chmodSync(outfile, 0o755);
}
