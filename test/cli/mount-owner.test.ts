import assert from "node:assert/strict";
import { chownSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sh, userns } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
const CONTAINER = "0:2100000000:1000";

function ownerOf(path: string): number[] {
	const { uid, gid } = statSync(path);
	return [uid, gid];
}

async function withSource(
	body: (source: string, target: string, folder: string) => Promise<void> | void,
): Promise<void> {
	await withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		writeFileSync(join(source, "other"), "");
		chownSync(join(source, "other"), 5, 6);
		chownSync(source, 1000, 100);
		await body(source, target, folder);
	});
}

/** The oracle for names: getent(1). */
function idOf(database: "passwd" | "group", name: string, field: number): number {
	return Number(sh("getent", database, name).trim().split(":")[field]);
}

test(
	"mount --owner takes numbers and names, and --others keep names the ID that is not visible",
	{ needs },
	() =>
		withSource((source, target) => {
			const cases: [string[], number[]][] = [
				[
					["--owner", "7:8"],
					[7, 8],
				],
				[
					["--owner", "daemon:mail"],
					[idOf("passwd", "daemon", 2), idOf("group", "mail", 2)],
				],
				[
					["--owner", "games"],
					[idOf("passwd", "games", 2), idOf("passwd", "games", 3)],
				],
				[
					["--owner", `${idOf("passwd", "games", 2)}`],
					[idOf("passwd", "games", 2), idOf("passwd", "games", 3)],
				],
			];
			for (const [args, expected] of cases) {
				const { status, stderr } = userns("mount", ...args, source, target);
				assert.equal(status, 0, stderr);
				assert.equal(stderr, "");
				assert.deepEqual(ownerOf(target), expected);
				assert.deepEqual(ownerOf(join(target, "other")), [65534, 65534]);
				assert.equal(userns("umount", target).status, 0);
			}
			const kept = userns("mount", "--owner", "7:8", "--others", "keep", "--json", source, target);
			assert.equal(kept.status, 0, kept.stderr);
			assert.deepEqual(ownerOf(join(target, "other")), [5, 6]);
			const { warnings } = JSON.parse(kept.stdout);
			assert.match(warnings[0], /files of uid 7 on disk/);
			assert.match(kept.stderr, /^userns: files of uid 7 on disk .*\nuserns: files of gid 8 on disk .*\n$/);
			assert.equal(userns("umount", target).status, 0);
		}),
);

test(
	"mount --userns takes the map of a process's user namespace, and of a pinned one",
	{ needs: [...needs, "tool:unshare"] },
	() =>
		withSource(async (source, target, folder) => {
			const container = await startContainer(folder, "pivot", CONTAINER);
			const pinned = join(folder, "pinned");
			try {
				assert.equal(userns("create", "--map", CONTAINER, "--at", pinned).status, 0);
				for (const namespace of [`${container.pid}`, pinned]) {
					const { status, stderr } = userns("mount", "--userns", namespace, source, target);
					assert.equal(status, 0, stderr);
					assert.deepEqual(ownerOf(join(target, "other")), [2100000005, 2100000006]);
					assert.equal(userns("umount", target).status, 0);
				}
				assert.equal(userns("umount", pinned).status, 0);
			} finally {
				await container.end();
			}
		}),
);

test(
	"mount --into: --owner has IDs of the container, --map container is its map, and a map of other IDs causes a warning",
	{ needs: [...needs, "tool:unshare"] },
	() =>
		withSource(async (source, _, folder) => {
			const container = await startContainer(folder, "pivot", CONTAINER);
			const at = `/proc/${container.pid}/root/data`;
			const into = ["--into", `${container.pid}`];
			try {
				for (const [args, file, expected, said] of [
					[["--owner", "0:0"], "", [2100000000, 2100000000], /^$/],
					[["--map", "container"], "other", [2100000005, 2100000006], /^$/],
					[
						["--map", "u:1000:7:1,g:100:8:1"],
						"",
						[7, 8],
						/^userns: the container has no uid .*\nuserns: the container has no gid /,
					],
				] as const) {
					const { status, stderr } = userns("mount", ...into, ...args, source, "/data");
					assert.equal(status, 0, stderr);
					assert.match(stderr, said);
					assert.deepEqual(ownerOf(join(at, file)), expected);
					assert.equal(userns("umount", ...into, "/data").status, 0);
				}
				for (const [owner, message] of [
					["root:root", /must have two numbers/],
					["0", /must have two numbers/],
					["5000:0", /the container does not map the uid 5000/],
				] as const) {
					const { status, stderr } = userns("mount", ...into, "--owner", owner, source, "/data");
					assert.notEqual(status, 0);
					assert.match(stderr, message);
				}
			} finally {
				await container.end();
			}
		}),
);

test("mount: wrong uses of --owner, --others and --userns exit with 2", { needs: ["linux"] }, () => {
	for (const [args, message] of [
		[[], /none of --map, --owner, --userns and --unmap is given/],
		[["--map", "0:1:1", "--others", "keep"], /--others needs --owner/],
		[["--map", "container"], /--map container needs --into/],
		[["--owner", "1:1", "--map", "0:1:1"], /'--owner <owner>' cannot be used with option '--map <map>'/],
		[["--owner", "1:1:1"], /it is not USER or USER:GROUP/],
		[["--owner", ":1"], /it is not USER or USER:GROUP/],
		[["--owner", "1:no-such-group"], /there is no group "no-such-group"/],
		[["--owner", "1:1", "--others", "drop"], /Allowed choices are keep, unmapped/],
	] as const) {
		const { status, stdout, stderr } = userns("mount", ...args, "/nonexistent", "/nonexistent");
		assert.equal(status, 2, `${args.join(" ")}: ${stderr}`);
		assert.match(stderr, message);
		assert.equal(stdout, "");
	}
});

test(
	"mount --from mounts a directory of a container here, and the hint for a path through /proc names it",
	{ needs: [...needs, "linux:6.3", "tool:unshare"] },
	() =>
		withTmpfs(async (folder) => {
			const [target = ""] = mkdirs(folder, "target");
			const container = await startContainer(folder, "pivot");
			try {
				const data = `/proc/${container.pid}/root/data`;
				chownSync(data, 1000, 100);
				for (const from of [`${container.pid}`, `/proc/${container.pid}/ns/mnt`]) {
					const { status, stdout, stderr } = userns(
						...["mount", "--owner", "7:8", "--from", from, "--json", "/data", target],
					);
					assert.equal(status, 0, stderr);
					const result = JSON.parse(stdout);
					assert.deepEqual([result.source, result.from, result.target], ["/data", from, target]);
					assert.deepEqual(ownerOf(target), [7, 8]);
					assert.equal(userns("umount", target).status, 0);
				}
				const wrong = userns("mount", "--owner", "7:8", data, target);
				assert.equal(wrong.status, 1);
				assert.match(wrong.stderr, /the mount of the source is in another mount namespace/);
				assert.match(
					wrong.stderr,
					new RegExp(`\\nhint: Set --from ${container.pid}, and name .*: "/data"\\.\\n$`),
				);
				const supported = userns("supports", data);
				assert.equal(supported.status, 1);
				assert.match(supported.stdout, /it is in another mount namespace/);
				const none = userns("mount", "--owner", "7:8", "--from", "0", "/data", target);
				assert.equal(none.status, 2);
				assert.match(none.stderr, /: --from must be a pid or the path of a mount namespace, not 0/);
				assert.doesNotMatch(readFileSync("/proc/self/mountinfo", "utf8"), /idmapped/);
			} finally {
				await container.end();
			}
		}),
);
