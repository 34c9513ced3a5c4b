import assert from "node:assert/strict";
import { ask } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "tool:unshare"] as const;

/*
 * The package verifies once for each mount that /proc is a procfs of its own pid namespace. These tests attack that
 * with another mount, and with another directory of a verified mount.
 */

const READ = `const idOf = (ns) => userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mappingSync().id;`;

test(
	"maps are right after the /proc of another pid namespace is mounted over the verified one",
	{ needs },
	() =>
		withTmpfs((folder) => {
			const [outer = ""] = mkdirs(folder, "outer");
			const answer = ask<{ numbers: [string, string]; ids: string[] }>(
				`import fs from "node:fs";
			import { execFileSync } from "node:child_process";
			const mount = (...args) => execFileSync("mount", args);
			mount("--bind", "/proc", "${outer}");
			mount("-t", "proc", "proc", "/proc");
			const inner = fs.readlinkSync("/proc/self");
			const ids = [];
			${READ}
			for (const map of ["0:100000:10", "0:200000:10"]) {
				const ns = userns.UserNamespace.createSync(map);
				ids.push(idOf(ns));
				ns.close();
			}
			mount("--bind", "${outer}", "/proc");
			const numbers = [inner, fs.readlinkSync("/proc/self")];
			for (const map of ["0:300000:10", "0:400000:10"]) {
				const ns = await userns.UserNamespace.create(map);
				ids.push(idOf(ns));
				ns.close();
			}
			console.log(JSON.stringify({ numbers, ids }));`,
				{ prefix: ["unshare", "--mount", "--propagation", "private", "--pid", "--fork"] },
			);
			assert.notEqual(answer.numbers[0], answer.numbers[1], "the two /proc call the process the same");
			assert.deepEqual(answer.ids, ["0:100000:10", "0:200000:10", "0:300000:10", "0:400000:10"]);
		}),
);

test("maps are right after a fake /proc is mounted over the verified one", { needs }, () => {
	const answer = ask<{ ids: string[]; written: string }>(
		`import fs from "node:fs";
		import { execFileSync } from "node:child_process";
		const held = [userns.UserNamespace.createSync("0:100000:10")];
		execFileSync("mount", ["-t", "tmpfs", "lie", "/proc"]);
		// A fake file waits at every pid that the next process can have.
		for (let pid = process.pid; pid < process.pid + 3000; pid++) {
			fs.mkdirSync("/proc/" + pid);
			fs.writeFileSync("/proc/" + pid + "/uid_map", "");
		}
		held.push(userns.UserNamespace.createSync("0:200000:10"));
		let written = "";
		for (const pid of fs.readdirSync("/proc")) written += fs.readFileSync("/proc/" + pid + "/uid_map", "utf8");
		execFileSync("umount", ["/proc"]);
		${READ}
		console.log(JSON.stringify({ ids: held.map(idOf), written }));`,
		{ prefix: ["unshare", "--mount", "--propagation", "private"] },
	);
	assert.deepEqual(answer, { ids: ["0:100000:10", "0:200000:10"], written: "" });
});

test("a folder of procfs that is mounted at /proc does not count as its root", { needs }, () => {
	const ids = ask<string[]>(
		`import { execFileSync } from "node:child_process";
		const held = [userns.UserNamespace.createSync("0:100000:10")];
		execFileSync("mount", ["--bind", "/proc/" + process.pid + "/task", "/proc"]);
		held.push(userns.UserNamespace.createSync("0:200000:10"));
		execFileSync("umount", ["/proc"]);
		${READ}
		console.log(JSON.stringify(held.map(idOf)));`,
		{ prefix: ["unshare", "--mount", "--propagation", "private"] },
	);
	assert.deepEqual(ids, ["0:100000:10", "0:200000:10"]);
});

test("a mapping is right although /proc shows another namespace as this process's own", { needs }, () =>
	withTmpfs((folder) => {
		const [lie = ""] = mkdirs(folder, "lie");
		const read = ask<string>(
			`import fs from "node:fs";
			import { execFileSync } from "node:child_process";
			const ns = userns.UserNamespace.createSync("0:100000:10");
			const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
			const self = "${lie}/thread-self";
			fs.mkdirSync(self + "/ns", { recursive: true });
			fs.writeFileSync(self + "/ns/user", "");
			for (const map of ["uid_map", "gid_map"]) fs.writeFileSync(self + "/" + map, "0 0 4294967295\\n");
			fs.writeFileSync(self + "/setgroups", "allow\\n");
			execFileSync("mount", ["--bind", "/proc/" + process.pid + "/fd/" + ns.fd, self + "/ns/user"]);
			execFileSync("mount", ["--rbind", "${lie}", "/proc"]);
			console.log(JSON.stringify(bare.mappingSync().id));`,
			{ prefix: ["unshare", "--mount", "--propagation", "private"] },
		);
		assert.equal(read, "0:100000:10");
	}),
);
