// The tests with all that they import in one file, for runner.mjs; their `test` only notes them down.
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
