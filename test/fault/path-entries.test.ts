import assert from "node:assert/strict";
import { chownSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask, packageForAll, root, sh } from "../support/child.ts";
import { OTHER_UID } from "../support/needs.ts";
import { test } from "../support/test.ts";

/*
 * The working directory can belong to a user with less privilege than the caller. The package runs and loads no program
 * from there, whatever PATH says.
 */

const needs = ["linux", "root", "private-mounts", "tool:unshare", "path:/etc/nsswitch.conf"] as const;
const PROGRAMS = ["newuidmap", "newgidmap", "getsubids", "getent"];

function withFolder<T>(work: (folder: string) => T): T {
	const folder = mkdtempSync(join(tmpdir(), "userns-path-"));
	try {
		return work(folder);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

/** Programs of these names that leave a file when they run. */
function plant(folder: string, ran: string): void {
	for (const name of PROGRAMS) {
		writeFileSync(join(folder, name), `#!/bin/sh\n: > "${ran}/${name}"\nexit 1\n`, { mode: 0o755 });
	}
}

/**
 * Calls every function that looks a program up, in a directory with these programs. Returns the names of those that
 * ran.
 */
function executed(
	folder: string,
	path: string | undefined,
	env: Record<string, string> = {},
): { ran: string[]; hint: string } {
	const ran = join(folder, "ran");
	mkdirSync(ran, { recursive: true });
	for (const location of [folder, join(folder, "bin")]) {
		mkdirSync(location, { recursive: true });
		plant(location, ran);
	}
	// Both kinds of user database have a source that only a program can query.
	writeFileSync(join(folder, "nsswitch"), "passwd: files sss\nsubid: sss\n");
	const { hint } = ask<{ hint: string }>(
		`process.chdir(${JSON.stringify(folder)});
		${
			path === undefined
				? `delete process.env.PATH; Object.prototype.PATH = ${JSON.stringify(join(folder, "bin"))};`
				: `process.env.PATH = ${JSON.stringify(path)};`
		}
		const made = userns.UserNamespace.create("0:1:1", { method: "newuidmap" });
		const hint = await made.then((ns) => { ns.close(); return "made"; }, (error) => error.hint);
		for (const user of ["root", "nobody-of-that-name"]) try { userns.Mapping.rootless({ user }); } catch {}
		console.log(JSON.stringify({ hint }));`,
		{
			env,
			prefix: [
				...["unshare", "--mount", "--propagation", "private", "sh", "-c"],
				`mount --bind ${join(folder, "nsswitch")} /etc/nsswitch.conf && exec "$@"`,
				"sh",
			],
		},
	);
	return { ran: readdirSync(ran).sort(), hint };
}

test("a PATH that is inherited from Object.prototype is not searched", { needs }, () =>
	withFolder((folder) => assert.deepEqual(executed(folder, undefined).ran, [])),
);

for (const [what, path] of [
	["an empty entry at the beginning", ":/nonexistent"],
	["an empty entry at the end", "/nonexistent:"],
	["nothing", ""],
	["a dot", "."],
	["a relative directory", "/nonexistent:bin"],
	["a relative directory with dots", "./bin:../bin"],
]) {
	test(`PATH with ${what}: no program of the working directory runs`, { needs }, () =>
		withFolder((folder) => {
			const { ran, hint } = executed(folder, path ?? "");
			assert.deepEqual(ran, []);
			assert.match(hint, /^Install newuidmap .*relative and empty entries are not searched/);
		}),
	);
}

test("the control: the same programs run from an absolute directory", { needs }, () =>
	withFolder((folder) => {
		assert.deepEqual(executed(folder, join(folder, "bin")).ran, [...PROGRAMS].sort());
	}),
);

test(
	"a bundle without the add-on beside it loads nothing, and the error says where to copy it",
	{ needs: ["linux", "root"] },
	() =>
		withFolder((folder) => {
			const outfile = join(folder, "a/b/c/bundle.mjs");
			const entry = join(packageForAll(), "dist/src/library/userns.js");
			const options = ["--bundle", "--format=esm", "--platform=node", "--log-level=warning"];
			sh(join(root, "node_modules/.bin/esbuild"), entry, ...options, `--outfile=${outfile}`);
			// The working directory, node_modules, and the folder to which the path in the package leads from the bundle.
			const name = `userns.linux-${process.arch}.node`;
			const cwd = join(folder, "cwd");
			for (const location of [cwd, join(cwd, "node_modules"), folder].flatMap((each) => [
				each,
				join(each, "prebuilds"),
			])) {
				mkdirSync(location, { recursive: true });
				writeFileSync(join(location, name), "planted");
			}
			const error = ask<Record<string, string>>(
				`process.chdir(${JSON.stringify(cwd)});
			const bundled = await import(${JSON.stringify(outfile)});
			let error; try { bundled.UserNamespace.createSync("0:0:1"); } catch (e) { error = { ...e, message: e.message, cause: String(e.cause) }; }
			console.log(JSON.stringify(error));`,
			);
			assert.equal(error.code, "ERR_USERNS_NATIVE_MISSING");
			assert.match(error.message ?? "", /a bundle lacks the file userns\.linux-/);
			assert.equal(error.cause, "undefined", "nothing was loaded");
			assert.match(error.hint ?? "", /external/);
			// The hint, followed.
			copyFileSync(join(packageForAll(), "prebuilds", name), join(folder, "a/b/c", name));
			assert.equal(error.hint?.endsWith(`${name} to ${join(folder, "a/b/c")}.`), true, error.hint);
			assert.equal(
				ask(`const bundled = await import(${JSON.stringify(outfile)});
					console.log(bundled.UserNamespace.createSync("0:0:1").fd > 2);`),
				true,
			);
			// Another user can give a file that name in a directory that everybody can write.
			chownSync(join(folder, "a/b/c", name), OTHER_UID, OTHER_UID);
			assert.match(
				ask<string>(`const bundled = await import(${JSON.stringify(outfile)});
					try { bundled.UserNamespace.createSync("0:0:1"); } catch (error) { console.log(JSON.stringify(error.message)); }`),
				new RegExp(`belongs to another user, the uid ${OTHER_UID}$`),
			);
		}),
);
