import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { withConsumer, withPackages } from "../support/consumer.ts";
import { test } from "../support/test.ts";

/*
 * Jest and Vitest give each test file modules of its own, so that the add-on is loaded again. The long form only, because they
 * are installed (npm run test:package).
 */

const needs = ["linux", "long", "tool:tar"] as const;

/** A test of a user. An error of the package must also be an Error of the test's own context. */
const SPEC = `import { Handles, UsernsError } from "userns";
test("a program runs in a namespace", async () => {
	const handles = new Handles();
	const namespace = await handles.get({
		uidMappings: [{ containerID: 0, hostID: process.geteuid(), size: 1 }],
		gidMappings: [{ containerID: 0, hostID: process.getegid(), size: 1 }],
	});
	const child = namespace.spawn("id", ["-u"], { stdio: ["ignore", "pipe", "inherit"] });
	let text = "";
	for await (const chunk of child.stdout) text += chunk;
	expect(text).toBe("0\\n");
	expect(() => handles.getSync("wrong")).toThrow(UsernsError);
	expect(() => handles.getSync("wrong")).toThrow(Error);
	namespace.close();
	handles.release();
});
`;

interface Runner {
	name: string;
	packages: readonly string[];
	files: Record<string, string>;
	/** Below node_modules of the packages, and its arguments. PROJECT is the consumer's folder. */
	script: string;
	args: readonly string[];
	options?: string;
	/** What it prints when both files have passed. */
	passed: RegExp;
}

const RUNNERS: readonly Runner[] = [
	{
		name: "Jest",
		packages: ["jest@30.5.2"],
		files: { "one.test.js": SPEC, "two.test.js": SPEC },
		script: "jest/bin/jest.js",
		args: ["--rootDir=PROJECT", '--config={"transform":{}}'],
		options: "--experimental-vm-modules",
		passed: /^Tests: +2 passed, 2 total$/m,
	},
	{
		name: "Vitest",
		packages: ["vitest@4.1.12"],
		files: { "one.test.js": SPEC, "two.test.js": SPEC },
		script: "vitest/vitest.mjs",
		args: ["run", "--globals", "--root=PROJECT"],
		passed: /^ *Tests +2 passed \(2\)$/m,
	},
	{
		name: "Vitest in threads",
		packages: ["vitest@4.1.12"],
		files: { "one.test.js": SPEC, "two.test.js": SPEC },
		script: "vitest/vitest.mjs",
		args: ["run", "--globals", "--pool=threads", "--root=PROJECT"],
		passed: /^ *Tests +2 passed \(2\)$/m,
	},
];

for (const { name, packages, files, script, args, options = "", passed } of RUNNERS) {
	test(`tests of a user with ${name} use the package`, { needs, timeout: 300_000 }, () =>
		withConsumer(files, (project) => {
			const tools = withPackages(name.split(" ")[0] as string, packages);
			// FORCE_COLOR and the variables of node --test would change what the runner prints.
			const { FORCE_COLOR: _, NODE_TEST_CONTEXT: __, ...env } = process.env;
			const { status, stdout, stderr } = spawnSync(
				process.execPath,
				[join(tools, "node_modules", script), ...args.map((arg) => arg.replace("PROJECT", project))],
				{ cwd: tools, encoding: "utf8", env: { ...env, NO_COLOR: "1", NODE_OPTIONS: options } },
			);
			assert.equal(status, 0, stdout + stderr);
			assert.match(stdout + stderr, passed);
		}),
	);
}
