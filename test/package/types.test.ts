import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { withConsumer, withPackages } from "../support/consumer.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "tool:tar"] as const;

interface Compiler {
	version: string;
	/** The package of the compiler, below node_modules. */
	path: string;
	/** What the long form installs; in the short form, nothing. */
	packages: readonly string[];
	resolutions: readonly string[];
}

const RESOLUTIONS: Record<string, string> = { node16: "node16", nodenext: "nodenext", bundler: "esnext" };

/** Compilers that the project has for its own use. */
const OWN = { "6.0.3": "@microsoft/api-extractor/node_modules/typescript", "7.0.2": "typescript" };

const COMPILERS: readonly Compiler[] = [
	...Object.entries(OWN).map(([version, path]) => ({
		version,
		path,
		packages: [],
		resolutions: ["nodenext"],
	})),
	...["5.2.2", "5.4.5", "5.6.3", "5.8.3", "5.9.3", "6.0.3", "7.0.2"].map((version) => ({
		version,
		path: "typescript",
		// 20.19.11 is the last one that TypeScript 5.2 reads, and 6.0 and later find an error in it.
		packages: [`typescript@${version}`, `@types/node@20.19.${version.startsWith("5.") ? 11 : 43}`],
		resolutions: Object.keys(RESOLUTIONS),
	})),
];

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
	assert.doesNotMatch(text, /"node:/);
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

function compile(
	compiler: string,
	project: string,
	file: string,
	resolution: string,
	...flags: string[]
): void {
	const args = [
		...[
			compiler,
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
			RESOLUTIONS[resolution] ?? "",
			"--moduleResolution",
			resolution,
		],
	];
	const { status, stdout } = spawnSync(process.execPath, [...args, ...flags, file], {
		cwd: project,
		encoding: "utf8",
	});
	assert.equal(status, 0, `${file}, ${resolution} ${flags.join(" ")}\n${stdout}`);
}

for (const { version, path, packages, resolutions } of COMPILERS) {
	const form = packages.length === 0 ? "nodenext" : "node16, nodenext and bundler";
	test(`TypeScript ${version} checks the declarations and a program that uses every type, with and without @types/node: ${form}`, {
		needs: packages.length === 0 ? needs : [...needs, "long"],
		timeout: 600_000,
	}, () => {
		const files = {
			"api.ts": program(),
			"without.ts": programWithoutNode(),
			"small.ts": SMALL,
			"unnamed.ts": UNNAMED,
		};
		withConsumer(files, (project) => {
			const modules = join(withPackages("typescript", packages), "node_modules");
			const compiler = join(modules, path, "bin/tsc");
			for (const resolution of resolutions) {
				compile(compiler, project, "without.ts", resolution, "--lib", "es2022,dom");
				compile(compiler, project, "small.ts", resolution, "--lib", "es2022");
			}
			for (const name of ["@types/node", "undici-types"]) {
				cpSync(join(modules, name), join(project, "node_modules", name), { recursive: true });
			}
			for (const resolution of resolutions) {
				compile(compiler, project, "api.ts", resolution, "--types", "node", "--lib", "es2022");
				compile(compiler, project, "unnamed.ts", resolution);
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
