import assert from "node:assert/strict";
import { once } from "node:events";
import {
	fromOci,
	Handles,
	Mapping,
	mountIdmapped,
	overlay,
	pin,
	supports,
	UserNamespace,
	UsernsError,
	unmount,
} from "../../src/index.ts";
import { ask } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;

/** Longer than PATH_MAX in bytes, the third in characters of three bytes only; longer than every buffer; with a NUL. */
const texts: Record<string, string> = {
	"5,000 characters": `/${"x".repeat(5000)}`,
	"4,096 bytes": `/${"x".repeat(4095)}`,
	"wide characters": `/${"\u20ac".repeat(1366)}`,
	"halves of characters": "/\ud800".repeat(2000),
	"3 MiB": `/${"x".repeat(3 << 20)}`,
	"a NUL": "/a\0b",
	empty: "",
};

type Call = (text: string, namespace: UserNamespace, handles: Handles, folder: string) => unknown;
const mapping = "0:1:1";
const ONE = [{ containerID: 0, hostID: 1, size: 1 }];

/** Every option that is a path. */
const paths: Record<string, Call> = {
	open: (text) => UserNamespace.open(text),
	pin: (text, namespace) => pin(namespace, text),
	unmount: (text) => unmount(text),
	"unmount into": (text, _, __, folder) => unmount(folder, { into: text }),
	supports: (text) => supports(text),
	source: (source, _, handles, target) => mountIdmapped({ source, target, mapping, handles }),
	target: (target, _, handles, source) => mountIdmapped({ source, target, mapping, handles }),
	targetRoot: (targetRoot, _, __, source) => mountIdmapped({ source, target: "/", targetRoot, mapping }),
	into: (into, _, __, source) => mountIdmapped({ source, target: "/", into, mapping }),
	lower: (text, _, __, folder) => overlay({ lower: [folder, text], mapping }),
	upper: (upper, _, __, folder) => overlay({ lower: folder, upper, work: folder, mapping }),
	work: (work, _, __, folder) => overlay({ lower: folder, upper: folder, work, mapping }),
	"overlay's target": (target, _, __, folder) => overlay({ lower: [folder, folder], target, mapping }),
	"OCI source": (source) =>
		fromOci({ source, destination: "/", options: ["bind"], uidMappings: ONE, gidMappings: ONE }),
	"OCI destination": (destination) =>
		fromOci({ source: "/", destination, options: ["bind"], uidMappings: ONE, gidMappings: ONE }),
};

/** Every other option that is a text. */
const words: Record<string, Call> = {
	mapping: (text) => UserNamespace.create(text),
	"Handles.get": (text, _, handles) => handles.get(text),
	getSync: (text, _, handles) => handles.getSync(text),
	parse: (text) => Mapping.parse(text),
	syntax: (text) => Mapping.parse(mapping, text as "colon"),
	user: (text) => Mapping.rootless({ user: text }),
	"user of a subid text": (text) => Mapping.parse("a:1:1", "subid", { user: { name: text } }),
	setgroups: (text) => UserNamespace.create(mapping, { setgroups: text as "deny" }),
	method: (text) => UserNamespace.create(mapping, { method: text as "auto" }),
	resolve: (text, _, __, folder) =>
		mountIdmapped({ source: folder, target: folder, mapping, resolve: text as "no-symlinks" }),
	unshare: (text, namespace) => namespace.spawn("true", [], { unshare: [text as "mount"] }),
	command: (text, namespace) => namespace.spawn(text),
	cwd: (text, namespace) => namespace.spawn("true", [], { cwd: text }),
	exec: (text, namespace) => namespace.exec(text),
	"exec's argument": (text, namespace) => namespace.exec("/no/such/program", [text]),
};

async function refusal(call: () => unknown): Promise<unknown> {
	try {
		return await call();
	} catch (error) {
		return error;
	}
}

test(
	"a path or text that is too long, has a NUL or is empty is an error of this package, and the error is short",
	{
		needs,
	},
	() =>
		withTmpfs(async (folder) => {
			const [target = ""] = mkdirs(folder, "target");
			const namespace = await UserNamespace.create("0:100000:65536");
			const handles = new Handles();
			for (const [kind, calls] of Object.entries({ paths, words })) {
				for (const [name, call] of Object.entries(calls)) {
					for (const [what, text] of Object.entries(texts)) {
						const error = await refusal(() => call(text, namespace, handles, target));
						assert.ok(error instanceof UsernsError, `${name}, ${what}: ${error}`);
						if (kind === "paths") assert.equal(error.code, "ERR_USERNS_INVALID_ARGUMENT", `${name}, ${what}`);
						assert.ok(error.message.length < 1500, `${name}, ${what}: ${error.message.length} characters`);
						assert.ok(error.hint, `${name}, ${what}`);
					}
				}
			}
			handles.release();
			assert.throws(
				() => UserNamespace.open(texts["5,000 characters"] as string),
				failure(
					"ERR_USERNS_INVALID_ARGUMENT",
					/^UserNamespace\.open: the path has 5001 bytes, and the kernel accepts/,
				),
			);
			assert.throws(
				() => namespace.spawn("true", [], { cwd: texts["5,000 characters"] as string }),
				failure("ERR_USERNS_SPAWN", /there is no directory \/x+… that can be reached \(ENAMETOOLONG\)/),
			);
			// A long argument that fits is no error: it reaches the program.
			const child = namespace.spawn("true", ["x".repeat(100_000)]);
			// Not "exit" first: "close" can follow it at once, before a listener for it is added, and the test would never end.
			assert.deepEqual(await once(child, "close"), [0, null]);
			namespace.close();
		}),
);

test("exec with an argument or environment that is too long for execve(2) fails with E2BIG, and the process stays", {
	needs: ["linux", "root"],
}, () => {
	const answer = ask<Record<string, string>[]>(`
		const ns = userns.UserNamespace.createSync("0:100000:65536");
		const found = [];
		for (const text of ["x".repeat(200_000), "x".repeat(3 << 20)]) {
			for (const call of [() => ns.exec("true", [text]), () => ns.exec("true", [], { env: { PATH: process.env.PATH, A: text } }), () => ns.exec("true", [], { argv0: text })]) {
				try { call(); } catch (e) { found.push(e); }
			}
		}
		console.log(JSON.stringify(found));`);
	assert.equal(answer.length, 6);
	for (const { code, errnoCode, hint } of answer) {
		assert.equal(code, "ERR_USERNS_SPAWN");
		assert.equal(errnoCode, "E2BIG");
		assert.match(hint ?? "", /limit of execve/);
	}
});
