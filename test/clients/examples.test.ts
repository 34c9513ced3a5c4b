import assert from "node:assert/strict";
import { chownSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { runExample } from "../support/examples.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import type { Need } from "../support/needs.ts";
import { makeRootfs, type Runtime } from "../support/oci.ts";
import { owner, words } from "../support/oci-tests.ts";
import { type Ended, makeUser, privateMounts, USER } from "../support/private-mounts.ts";
import { test } from "../support/test.ts";

const needs: readonly Need[] = ["linux", "root", "mounts"];
const RUNTIMES: readonly Runtime[] = ["crun", "runc"];

function says({ status, stdout, stderr }: Ended): string[] {
	assert.equal(status, 0, stderr);
	assert.equal(stderr, "");
	return words(stdout);
}

const tested = new Set<string>();

/** Tests one example. A file that the example leaves in its folder for temporary files is a failure. */
function testExample(
	name: string,
	how: string,
	more: readonly Need[],
	body: (folder: string, run: (...args: string[]) => Ended) => void,
	prefix: (folder: string) => string[] = () => privateMounts({ cgroup2: true }),
): void {
	tested.add(`${name}.ts`);
	test(`examples/${name}.ts ${how}`, { needs: [...needs, ...more] }, () =>
		withTmpfs((folder) => {
			const [temporary = ""] = mkdirs(folder, "temporary");
			chownSync(temporary, USER.uid, USER.uid);
			const environment = [...prefix(folder), "env", `TMPDIR=${temporary}`];
			body(folder, (...args) => runExample(environment, name, ...args));
			assert.deepEqual(readdirSync(temporary), []);
		}),
	);
}

const asUser = (folder: string) => privateMounts({ user: makeUser(folder) });
const LOOK = ["sh", "-c", "id -u; cat /proc/self/uid_map"];

testExample("spawn", "runs a command as root of a namespace, and passes its exit status on", [], (_, run) => {
	assert.deepEqual(says(run(...LOOK)), ["0", "0 2100000000 65536"]);
	assert.equal(run("sh", "-c", "exit 7").status, 7);
});

testExample(
	"rootless",
	"gives a file to a subordinate ID, without root",
	["user", "tool:newuidmap", "tool:newgidmap"],
	(_, run) => {
		assert.deepEqual(says(run()), [
			`mapping: 0:${USER.uid}:1,1:${USER.first}:${USER.size}`,
			`the file of uid 1 inside belongs to uid ${USER.first} outside`,
		]);
	},
	asUser,
);

testExample("rootless", "says what to do for a user without subordinate IDs", ["user"], (folder, _) => {
	const copies = makeUser(folder);
	for (const file of ["subuid", "subgid"]) writeFileSync(join(copies, file), "");
	const { status, stderr } = runExample(privateMounts({ user: copies }), "rootless");
	assert.equal(status, 1);
	assert.match(
		stderr,
		/has no subordinate uids in \/etc\/subuid and no subordinate gids in \/etc\/subgid\nAs root, add a line/,
	);
});

testExample("rootless", "as root: says that root cannot call it", [], (_, run) => {
	const { status, stderr } = run();
	assert.equal(status, 1);
	assert.match(stderr, /rootless\.js needs a caller without root privilege/);
});

for (const name of ["oci-container", "shared-namespace"]) {
	testExample(
		name,
		"without root: says that it needs root, and leaves no bundle",
		["user"],
		(_, run) => {
			const before = readdirSync(tmpdir());
			const { status, stderr } = run("crun", "/", "/");
			assert.equal(status, 1);
			assert.match(stderr, new RegExp(`${name}\\.js needs root`));
			assert.deepEqual(
				readdirSync(tmpdir()).filter((entry) => entry.startsWith("bundle-") && !before.includes(entry)),
				[],
			);
		},
		asUser,
	);
}

testExample("bwrap-sandbox", "as root: another's root in a sandbox", ["tool:bwrap"], (_, run) => {
	assert.deepEqual(says(run(...LOOK)), ["0", "0 2100000000 65536"]);
	assert.equal(run("sh", "-c", "exit 7").status, 7);
});

testExample(
	"bwrap-sandbox",
	"without root: the user is root in a sandbox",
	["tool:bwrap", "user", "tool:newuidmap", "tool:newgidmap"],
	(_, run) => {
		assert.deepEqual(says(run(...LOOK)), ["0", `0 ${USER.uid} 1`, `1 ${USER.first} ${USER.size}`]);
	},
	asUser,
);

for (const runtime of RUNTIMES) {
	const more = ["busybox", `tool:${runtime}`] as const;
	testExample("oci-container", `runs ${runtime} with a volume of uid 1000's`, more, (folder, run) => {
		const rootfs = makeRootfs(join(folder, "rootfs"));
		const [data = ""] = mkdirs(folder, "data");
		chownSync(data, 1000, 2000);
		const command = "stat -c %u:%g /bin/busybox /data; cat /proc/self/uid_map; echo new > /data/new";
		const said = says(run(runtime, rootfs, data, "/bin/sh", "-c", command));
		assert.deepEqual(said, ["0:0", "0:0", "0 2100000000 65536"]);
		assert.equal(owner(join(data, "new")), "1000:2000");
		assert.equal(readFileSync(join(data, "new"), "utf8"), "new\n");
		assert.equal(owner(join(rootfs, "bin/busybox")), "0:0");
		const failing = run(runtime, rootfs, data, "/bin/sh", "-c", "exit 7");
		assert.equal(failing.status, 7, failing.stderr);
		assert.ok(existsSync(join(rootfs, "bin/busybox")));
	});

	testExample("shared-namespace", `runs two containers of ${runtime}`, more, (folder, run) => {
		const rootfs = makeRootfs(join(folder, "rootfs"));
		const said = says(run(runtime, rootfs)).sort();
		assert.equal(said.length, 3);
		const [one, two] = said.slice(0, 2).map((line) => {
			return /^example-\d+-(?:one|two) ran in the user namespace (\d+)$/.exec(line)?.[1] ?? assert.fail(line);
		});
		assert.equal(one, two);
		assert.equal(said[2], "two sees the owner 7:8");
		assert.ok(existsSync(join(rootfs, "bin/busybox")));
	});
}

test("the links of docs/clients.md lead to existing targets", () => {
	const links = [...readFileSync(join(root, "docs/clients.md"), "utf8").matchAll(/\]\(([^)]+)\)/g)];
	assert.ok(links.length > 0);
	for (const [, link = ""] of links) assert.ok(existsSync(join(root, "docs", link)), link);
});

test("every example has a test, and imports this package by its name and no other file of it", () => {
	const folder = join(root, "examples");
	const files = readdirSync(folder);
	assert.deepEqual(files.sort(), [...tested].sort());
	for (const file of files) {
		const imported = [...readFileSync(join(folder, file), "utf8").matchAll(/ from "([^"]+)";$/gm)];
		const names = imported.map(([, name = ""]) => name).filter((name) => !name.startsWith("node:"));
		assert.deepEqual(names, ["userns"], file);
	}
});
