import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { copyTool, runNode, toolFile, toolsFolder, withConsumer } from "../support/consumer.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "tool:npm", "tool:tar"] as const;

/** The compilers. That of @microsoft/api-extractor is TypeScript 6. Folders of scripts/test-package.mjs have these names. */
const COMPILERS: Record<string, string> =
	toolsFolder === undefined
		? {
				"6": toolFile("@microsoft/api-extractor/node_modules/typescript"),
				"7": toolFile("typescript"),
			}
		: Object.fromEntries(
				["5.2", "5.4", "5.6", "5.8", "5.9", "6.0", "7.0"].map((version) => [
					version,
					toolFile(`typescript-${version}`),
				]),
			);

/** test/types/api.ts as a program that uses the package. */
function program(): string {
	const text = readFileSync(join(root, "test/types/api.ts"), "utf8");
	assert.match(text, /"\.\.\/\.\.\/src\/index\.ts"/);
	return text.replace("../../src/index.ts", "userns");
}

/** The same without @types/node, where a ChildProcess and its pid are `any`. */
function programWithoutNode(): string {
	const text = program()
		.replace(/^import type \{ ChildProcess \}.*$/m, "type ChildProcess = object;")
		.replace(/^.*the pid of a child that failed to start.*\n.*\n/m, "");
	assert.doesNotMatch(text, /node:/);
	return text;
}

/** A program without any library but that of the language: no AbortSignal, and no Symbol.dispose. */
const SMALL = `import { Handles, Mapping, UserNamespace } from "userns";
export const descriptor: number = UserNamespace.createSync(Mapping.from("0:1:1")).fd;
export const size: number = new Handles().size;
// @ts-expect-error the size is a number
export const text: string = new Handles().size;
`;

/** A program that does not name @types/node in its settings. The package loads it, so that a ChildProcess is not `any`. */
const UNNAMED = `import { UserNamespace } from "userns";
// @ts-expect-error a ChildProcess is no number
export const child: number = UserNamespace.open(1).spawn("id");
`;

const RESOLUTIONS = { node16: "node16", nodenext: "nodenext", bundler: "esnext" };

for (const [version, folder] of Object.entries(COMPILERS)) {
	const resolutions = Object.entries(RESOLUTIONS).filter(
		([name]) => toolsFolder !== undefined || name === "nodenext",
	);
	test(`TypeScript ${version} compiles a program that uses every type, with and without @types/node, and checks the declarations`, {
		needs,
		timeout: 600_000,
	}, () => {
		const files = {
			"api.ts": program(),
			"without.ts": programWithoutNode(),
			"small.ts": SMALL,
			"unnamed.ts": UNNAMED,
		};
		withConsumer(files, (project) => {
			const compile = (file: string, resolution: string, module: string, ...flags: string[]) =>
				runNode(
					project,
					join(folder, "bin/tsc"),
					...[
						"--noEmit",
						"--strict",
						"--exactOptionalPropertyTypes",
						"--target",
						"es2022",
						"--pretty",
						"false",
					],
					...[
						"--skipLibCheck",
						"false",
						"--module",
						module,
						"--moduleResolution",
						resolution,
						...flags,
						file,
					],
				);
			for (const [resolution, module] of resolutions) {
				compile("without.ts", resolution, module, "--lib", "es2022,dom");
				compile("small.ts", resolution, module, "--lib", "es2022");
			}
			copyTool(project, toolFile(toolsFolder === undefined ? "@types/node" : "node-types"), "@types/node");
			copyTool(project, toolFile("undici-types"), "undici-types");
			for (const [resolution, module] of resolutions) {
				compile("api.ts", resolution, module, "--types", "node", "--lib", "es2022");
				compile("unnamed.ts", resolution, module);
			}
		});
	});
}

test("the declarations are one file, which names no other file and has the comments", { needs }, () => {
	withConsumer({}, (project) => {
		const text = readFileSync(join(project, "node_modules/userns/dist/userns.d.ts"), "utf8");
		const modules = [...text.matchAll(/\bfrom ['"]([^'"]+)['"]|\bimport\(['"]([^'"]+)/g)].map(
			([, one, two]) => one ?? two,
		);
		assert.deepEqual([...new Set(modules)], ["node:child_process"]);
		assert.doesNotMatch(text, /^declare /m, "a declaration that is not exported");
		assert.match(text, /\/\*\* The mount is read-only: MOUNT_ATTR_RDONLY\. \*\/\n {4}readonly\?: boolean/);
	});
});
