import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ask, sh } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { mkdirs, mountFresh, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

interface Sweep {
	codes: string[];
	errnos: string[];
	steps: string[];
	successes: number;
	lost: number;
	mounts: number;
}

/** Runs an action with 0, 1, 2 … free descriptors, so that each of its steps is once the first to find none. */
function sweep(setup: string, action: string): Sweep {
	return ask<Sweep>(
		`import fs from "node:fs";
		${setup}
		const action = async () => { ${action} };
		await action(); await action();
		const mounts = () => fs.readFileSync("/proc/self/mountinfo", "utf8").split("\\n").length;
		const count = () => fs.readdirSync("/proc/self/fd").length;
		const [before, mounted] = [count(), mounts()];
		const failures = []; let successes = 0;
		for (let left = 0; left < 16; left++) {
			const filler = [];
			try { for (;;) filler.push(fs.openSync("/dev/null")); } catch {}
			for (let i = 0; i < left; i++) fs.closeSync(filler.pop());
			try { await action(); successes++; } catch (e) { failures.push(e); }
			for (const fd of filler) fs.closeSync(fd);
		}
		const all = (key) => [...new Set(failures.map((e) => String(e[key])))];
		console.log(JSON.stringify({ codes: all("code"), errnos: all("errnoCode"), steps: all("step"), successes,
			lost: count() - before, mounts: mounts() - mounted }));`,
		{ prefix: ["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"] },
	);
}

test(
	"EMFILE at every step of a recursive mount leaves no mount and no descriptor",
	{ needs: ["linux", "root", "mounts"] },
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			const [below = ""] = mkdirs(source, "below");
			await mountFresh(below);
			const found = sweep(
				`const handles = new userns.Handles(); handles.getSync("0:1:1").close();
			const options = { source: ${JSON.stringify(source)}, target: ${JSON.stringify(target)}, mapping: "0:1:1", recursive: true, handles };`,
				"const mount = await userns.mountIdmapped(options); try { await mount.unmount(); } catch (e) { mount.close(); throw e; }",
			);
			assert.equal(found.lost, 0);
			assert.ok(found.successes >= 8, JSON.stringify(found));
			assert.deepEqual(found.errnos, ["EMFILE"]);
			assert.ok(found.steps.length >= 3, found.steps.join());
			for (const code of found.codes) assert.match(code, /^ERR_USERNS_(MOUNT|UNMOUNT|DESCRIPTOR)$/);
			assert.equal(found.mounts, 0);
			sh("umount", join(source, "below"));
		}),
);

test(
	"EMFILE at every step of a nested tree, an overlay and a mount in a container leaves nothing",
	{ needs: ["linux", "root", "mounts", "linux:6.15", "fs:overlay", "tool:unshare"] },
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = "", lower = ""] = mkdirs(folder, "source", "target", "lower");
			const [upper = "", work = ""] = mkdirs(folder, "upper", "work");
			const [below = ""] = mkdirs(source, "below");
			const { mountIdmapped } = await import("../../src/index.ts");
			const inner = await mountIdmapped({ source: lower, target: below, mapping: "0:5:1" });
			inner.close();
			const container = await startContainer(folder, "pivot");
			const table = () => readFileSync(`/proc/${container.pid}/mountinfo`, "utf8");
			const before = table();
			const takeAway = "try { await mount.unmount(); } catch (e) { mount.close(); throw e; }";
			const cases: [string, string][] = [
				[
					"nested tree",
					`userns.mountIdmapped({ source: "${source}", target: "${target}", mapping: "0:7:1,5:8:1", recursive: true, handles })`,
				],
				[
					"overlay",
					`userns.overlay({ lower: ["${lower}", "${target}"], target: "${target}", mapping: "0:1:1", handles })`,
				],
				[
					"overlay with an upper layer",
					`userns.overlay({ lower: "${lower}", upper: "${upper}", work: "${work}", target: "${target}", mapping: "0:1:1", handles })`,
				],
				[
					"container",
					`userns.mountIdmapped({ source: "${lower}", target: "/data", into: ${container.pid}, mapping: "0:1:1", handles })`,
				],
			];
			for (const [name, call] of cases) {
				const found = sweep(
					`const handles = new userns.Handles();`,
					`const mount = await ${call}; ${takeAway}`,
				);
				assert.equal(found.lost, 0, name);
				assert.equal(found.mounts, 0, name);
				assert.ok(found.successes >= 3, `${name}: ${JSON.stringify(found)}`);
				assert.deepEqual(found.errnos, ["EMFILE"], name);
				assert.ok(found.steps.length >= 3, `${name}: ${found.steps.join()}`);
				for (const code of found.codes) {
					assert.match(code, /^ERR_USERNS_(MOUNT|UNMOUNT|DESCRIPTOR|READ_MOUNTS|MOUNT_NAMESPACE)$/, name);
				}
			}
			// The error reports a mount that could not be unmounted for lack of descriptors. The script unmounts it
			// here.
			await container.end();
			assert.ok(before.length > 0);
			sh("umount", below);
		}),
);

test("EMFILE at every step of reading a mapping leaves no descriptor and no process", {
	needs: ["linux", "root"],
}, () => {
	const found = sweep(
		`const ns = userns.UserNamespace.createSync("0:100:1");`,
		`const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
		try { await bare.mapping(); } finally { bare.close(); }
		const again = userns.UserNamespace.open(process.pid); again.close();
		if (fs.readFileSync("/proc/thread-self/children", "utf8") !== "") throw new Error("a process is left");`,
	);
	assert.equal(found.lost, 0);
	assert.ok(found.successes >= 5, JSON.stringify(found));
	assert.ok(found.steps.length >= 3, found.steps.join());
	for (const code of found.codes) assert.match(code, /^(ERR_USERNS_(OPEN|READ_MAPPING|DESCRIPTOR)|EMFILE)$/);
});
