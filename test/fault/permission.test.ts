import assert from "node:assert/strict";
import { ask, packageForAll } from "../support/child.ts";
import { test } from "../support/test.ts";

/*
 * Node's permission model. Each refusal must be one error that names the flag, and never "no such file", "no such program" or
 * "no such user". test/support/runtime.ts runs the script from the command line, so only the package must be readable.
 */

const MODEL = process.allowedNodeEnvironmentFlags.has("--permission")
	? "--permission"
	: "--experimental-permission";
const PACKAGE = `--allow-fs-read=${packageForAll()}`;

const CALLS = `const ns = await userns.UserNamespace.create("0:" + process.geteuid() + ":1").catch((e) => e);
const calls = {
	mounts: () => userns.mounts(),
	mountsAsync: () => userns.mountsAsync(),
	rootless: () => userns.Mapping.rootless(),
	user: () => userns.Mapping.rootless({ user: "root" }),
	unknown: () => userns.Mapping.rootless({ user: 54321 }),
	spawn: () => new Promise((resolve, reject) => ns.spawn("true", [], { stdio: "ignore" }).on("error", reject).on("exit", resolve)),
	path: () => new Promise((resolve, reject) => ns.spawn("/bin/true", [], { stdio: "ignore", cwd: "/" }).on("error", reject).on("exit", resolve)),
	exec: () => ns.exec("true-nonexistent"),
};
const found = { create: ns instanceof Error ? ns.code + " " + ns.hint : "done" };
for (const [name, call] of Object.entries(calls)) {
	try { await call(); found[name] = "done"; } catch (e) { found[name] = e.code + " " + e.message + " " + e.hint; }
}
console.log(JSON.stringify(found));`;

function refusals(...flags: string[]): Record<string, string> {
	return ask<Record<string, string>>(CALLS, { nodeFlags: [MODEL, "--no-warnings", PACKAGE, ...flags] });
}

const READ =
	/^ERR_USERNS_NODE_PERMISSION Node's permission model does not allow to read \/.* Start Node\.js with --allow-fs-read=\*, or without --permission\.$/;
const START =
	/^ERR_USERNS_NODE_PERMISSION Node's permission model does not allow to start .* Start Node\.js with --allow-child-process, or without --permission\.$/;

test("without --allow-addons the error names the flag", { needs: ["linux"] }, () => {
	const found = refusals();
	assert.match(found.create ?? "", /^ERR_USERNS_NATIVE_MISSING Start Node\.js with --allow-addons/);
});

test("with --allow-addons alone, every function that reads a file or looks for a program names --allow-fs-read", {
	needs: ["linux"],
}, () => {
	const { create, ...others } = refusals("--allow-addons");
	assert.equal(create, "done");
	assert.equal(Object.keys(others).length, 8);
	for (const [name, text] of Object.entries(others)) assert.match(text, READ, name);
});

test("with --allow-fs-read too, every function that starts a program names --allow-child-process", {
	needs: ["linux"],
}, () => {
	const found = refusals("--allow-addons", "--allow-fs-read=*");
	assert.equal(found.mounts, "done");
	for (const name of ["spawn", "path", "unknown"]) assert.match(found[name] ?? "", START, name);
	assert.match(found.exec ?? "", /^ERR_USERNS_NO_PROGRAM/);
});

test("the control: with every flag nothing is refused", { needs: ["linux"] }, () => {
	const found = refusals("--allow-addons", "--allow-fs-read=*", "--allow-child-process");
	assert.deepEqual([found.create, found.mounts, found.spawn, found.path], ["done", "done", "done", "done"]);
	assert.match(found.unknown ?? "", /^ERR_USERNS_UNKNOWN_USER/);
	assert.doesNotMatch(JSON.stringify(found), /permission model/);
});

test("a directory of PATH that may not be read does not hide the program in another one", {
	needs: ["linux"],
}, () => {
	const status = ask<number>(
		`const ns = await userns.UserNamespace.create("0:" + process.geteuid() + ":1");
		const env = { PATH: "/nonexistent-userns:/usr/bin:/bin" };
		const child = ns.spawn("true", [], { stdio: "ignore", env });
		child.on("exit", (status) => console.log(JSON.stringify(status)));`,
		{
			nodeFlags: [
				MODEL,
				"--no-warnings",
				PACKAGE,
				"--allow-addons",
				"--allow-child-process",
				"--allow-fs-read=/usr/bin",
				"--allow-fs-read=/bin",
			],
		},
	);
	assert.equal(status, 0);
});
