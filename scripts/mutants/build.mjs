// Bundles the tests with everything that they import into one file, for runner.mjs. Their `test` only registers them.
import { build } from "esbuild";
import { TESTS } from "./config.mjs";

const noted = {
	name: "noted",
	setup({ onLoad }) {
		onLoad({ filter: /\/test\/support\/test\.ts$/ }, () => ({
			contents: `export function test(name, first, second) {
				globalThis.notedTests.push({ name, body: second ?? first });
			}`,
		}));
	},
};

await build({
	stdin: {
		contents: TESTS.map((name) => `import "./test/unit/${name}.test.ts";`).join("\n"),
		resolveDir: ".",
	},
	outfile: "dist/mutants.js",
	bundle: true,
	packages: "external",
	platform: "node",
	target: "node20",
	format: "esm",
	logLevel: "warning",
	plugins: [noted],
});
