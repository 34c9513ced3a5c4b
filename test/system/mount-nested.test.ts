import assert from "node:assert/strict";
import { chownSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type IdmappedMount, Mapping, mountIdmapped, UserNamespace } from "../../src/index.ts";
import { ask, sh } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "linux:6.15"] as const;
const NOBODY = 65534;
/** Disk IDs inside, at the edges of and outside the maps below. */
const DISK = [0, 1, 7, 8, 65534, 65535, 65536, 100000, 100007, 200000];

/** A file for each owner on disk. The gids are in reverse order, so that a mix-up of the two shows. */
function makeFiles(folder: string): void {
	DISK.forEach((uid, i) => {
		const path = join(folder, `${i}`);
		writeFileSync(path, "");
		chownSync(path, uid, DISK.at(-1 - i) as number);
	});
}

function seen(folder: string): string[] {
	return DISK.map((_, i) => {
		const { uid, gid } = statSync(join(folder, `${i}`));
		return `${uid}:${gid}`;
	});
}

/** The visible owner of each file through mounts that are stacked in that order, from the mappings alone. */
function oracle(...maps: readonly Mapping[]): string[] {
	const through = (kind: "uidToHost" | "gidToHost", id: number) =>
		maps.reduce<number | undefined>((at, map) => (at === undefined ? undefined : map[kind](at)), id) ??
		NOBODY;
	return DISK.map(
		(uid, i) => `${through("uidToHost", uid)}:${through("gidToHost", DISK.at(-1 - i) as number)}`,
	);
}

const SHAPES: [name: string, there: string, asked: string][] = [
	["shifted, shifted back", "0:100000:65536", "100000:0:65536"],
	["shifted twice", "0:100000:65536", "100000:300000:65536"],
	["an overlap in the middle only", "0:100000:65536", "100005:5:10"],
	[
		"uids and gids differ",
		"u:0:100000:10,u:65535:5:2,g:0:200000:70000",
		"u:5:50:2,u:100000:7:9,g:200000:1:70000",
	],
	[
		"six extents each",
		"0:9:1,1:8:1,7:7:1,8:6:1,65534:50:2,100000:20:20",
		"9:1009:1,8:1008:1,7:1007:1,6:1006:1,50:1:2,20:2000:20",
	],
	["inverted", "0:8:1,8:0:1,1:7:1,7:1:1", "8:0:1,0:8:1,7:1:1,1:7:1"],
];

for (const [name, there, asked] of SHAPES) {
	test(`nested, ${name}: the owners are as if the mounts were stacked`, { needs }, () =>
		withTmpfs(async (folder) => {
			const [source = "", middle = "", target = ""] = mkdirs(folder, "source", "middle", "target");
			makeFiles(source);
			const [first, second] = [Mapping.from(there), Mapping.from(asked)];
			const expected = { middle: oracle(first), composed: oracle(first, second), replaced: oracle(second) };
			const outer = await mountIdmapped({ source, target: middle, mapping: there });
			assert.deepEqual(seen(middle), expected.middle);
			const composed = await mountIdmapped({ source: middle, target, mapping: asked });
			assert.deepEqual(seen(target), expected.composed);
			assert.equal(composed.mapping.id, first.compose(second).id);
			await composed.unmount();
			const replaced = await mountIdmapped({ source: middle, target, mapping: asked, nested: "replace" });
			assert.deepEqual(seen(target), expected.replaced);
			assert.equal(replaced.mapping.id, second.id);
			await replaced.unmount();
			const cleared = await mountIdmapped({ source: middle, target, unmap: true });
			assert.deepEqual(seen(target), seen(source));
			assert.ok(!mountAt(target)?.options.includes("idmapped"));
			await cleared.unmount();
			assert.deepEqual(seen(middle), expected.middle); // the source is as it was
			await outer.unmount();
		}),
	);
}

test("three composed maps show the right owner, and new files get the right owner on disk", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", ...paths] = mkdirs(folder, "source", "a", "b", "c");
		chownSync(source, 7, 7);
		// 7 on disk, 1007 through a, 2007 through b, 0 through c.
		const mounts: IdmappedMount[] = [];
		let from = source;
		for (const [i, mapping] of ["7:1007:1", "1007:2007:1", "2007:0:1"].entries()) {
			const target = paths[i] as string;
			mounts.unshift(await mountIdmapped({ source: from, target, mapping }));
			from = target;
		}
		assert.deepEqual(
			paths.map((path) => statSync(path).uid),
			[1007, 2007, 0],
		);
		writeFileSync(join(from, "new"), "");
		assert.equal(statSync(join(source, "new")).uid, 7);
		for (const mount of mounts) await mount.unmount();
	}),
);

test('nested: "refuse", a map without a visible ID, and wrong combinations throw', { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", middle = "", target = ""] = mkdirs(folder, "source", "middle", "target");
		const outer = await mountIdmapped({ source, target: middle, mapping: "0:100000:10" });
		const before = readFileSync("/proc/self/mountinfo", "utf8");
		await assert.rejects(
			mountIdmapped({ source: middle, target, mapping: "100000:0:10", nested: "refuse" }),
			failure("ERR_USERNS_MOUNT", new RegExp(`tmpfs at ${middle} is already ID-mapped`)),
		);
		await assert.rejects(
			mountIdmapped({ source: middle, target, mapping: "0:5:10" }),
			failure("ERR_USERNS_INVALID_MAPPING", /the mapping contains none of the uids visible through it/),
		);
		await assert.rejects(
			mountIdmapped({ source: middle, target, unmap: true, mapping: "0:5:10" }),
			failure("ERR_USERNS_INVALID_ARGUMENT", /unmap and mapping cannot be used together/),
		);
		assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
		await outer.unmount();
	}),
);

test(
	"nested composes with a detached mount of this package, and with one of another program",
	{ needs },
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			makeFiles(source);
			const [first, second] = [Mapping.from("0:100000:65536"), Mapping.from("100000:7:10")];
			const detached = await mountIdmapped({ source, mapping: first });
			const mount = await mountIdmapped({ source: detached.fd, target, mapping: second });
			assert.deepEqual(seen(target), oracle(first, second));
			await mount.unmount();
			detached.close();
		}),
);

test("recursive composes the requested map with the map of each mount of the tree", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", other = "", target = ""] = mkdirs(folder, "source", "other", "target");
		const [inner = "", plain = ""] = mkdirs(source, "inner", "plain");
		makeFiles(source);
		makeFiles(other);
		sh("mount", "-t", "tmpfs", "plain", plain);
		mkdirs(other, "deep");
		makeFiles(plain);
		const [there, asked] = [Mapping.from("0:1000:65536"), Mapping.from("0:300000:70000")];
		const mapped = await mountIdmapped({ source: other, target: inner, mapping: there });
		sh("mount", "-t", "tmpfs", "deep", join(inner, "deep")); // below an ID-mapped mount, itself without a map
		makeFiles(join(inner, "deep"));
		const expected = {
			"": oracle(asked),
			plain: oracle(asked),
			inner: oracle(there, asked),
			"inner/deep": oracle(asked),
		};
		const mount = await mountIdmapped({ source, target, mapping: asked, recursive: true, nosuid: true });
		for (const [path, owners] of Object.entries(expected)) {
			assert.deepEqual(seen(join(target, path)), owners, path);
			assert.ok(mountAt(join(target, path).replace(/\/$/, ""))?.options.includes("nosuid"), path);
		}
		await mount.unmount();
		assert.equal(mountAt(target), undefined);

		// Bound as a whole and mapped at the root alone: the mounts below keep their maps.
		const rootOnly = await mountIdmapped({
			source,
			target,
			mapping: asked,
			recursive: true,
			recursiveIdmap: false,
		});
		assert.deepEqual(seen(join(target, "inner")), oracle(there));
		assert.deepEqual(seen(target), oracle(asked));
		await rootOnly.unmount();

		// No mount has a map.
		const cleared = await mountIdmapped({ source, target, unmap: true, recursive: true });
		for (const path of Object.keys(expected)) assert.deepEqual(seen(join(target, path)), oracle(), path);
		await cleared.unmount();
		await assert.rejects(
			mountIdmapped({ source, target, mapping: asked, recursive: true, nested: "refuse" }),
			failure("ERR_USERNS_MOUNT", new RegExp(`tmpfs at ${inner} is already ID-mapped`)),
		);
		assert.equal(mountAt(target), undefined);
		sh("umount", join(inner, "deep"));
		await mapped.unmount();
		sh("umount", plain);
	}),
);

test(
	"nested composes maps in the IDs of the caller's own user namespace",
	{
		needs: [...needs, "tool:nsenter", "tool:unshare"],
	},
	() =>
		withTmpfs(async (folder) => {
			// All of these IDs are 100000 more outside, which statmount(2) must not show here.
			const outer = await UserNamespace.create("0:100000:65536", { setgroups: "allow" });
			const [source, middle, target] = ["source", "middle", "target"].map((name) => join(folder, name));
			const answer = ask<{ seen: number[]; id: string; listed: string[] }>(
				`import fs from "node:fs";
			import { spawnSync } from "node:child_process";
			const [source, middle, target] = ${JSON.stringify([source, middle, target])};
			spawnSync("mount", ["-t", "tmpfs", "inside", ${JSON.stringify(folder)}]);
			for (const path of [source, middle, target]) fs.mkdirSync(path);
			fs.writeFileSync(source + "/file", ""); fs.chownSync(source + "/file", 7, 7);
			const one = await userns.mountIdmapped({ source, target: middle, mapping: "0:1000:1000" });
			const two = await userns.mountIdmapped({ source: middle, target, mapping: "1000:5000:1000" });
			const seen = [source, middle, target].map((path) => fs.statSync(path + "/file").uid);
			const listed = userns.mounts({ idmapped: true }).map((mount) => mount.mapping?.id ?? mount.unknown);
			console.log(JSON.stringify({ seen, id: two.mapping.id, listed }));
			await two.unmount(); await one.unmount();`,
				{
					prefix: [
						...["nsenter", "--user=/proc/self/fd/3", "--setuid", "0", "--setgid", "0"],
						...["unshare", "--mount", "--propagation", "private"],
					],
					stdio: ["ignore", "pipe", "pipe", outer.fd],
				},
			);
			outer.close();
			assert.deepEqual(answer.seen, [7, 1007, 5007]);
			assert.equal(answer.id, "0:5000:1000");
			assert.deepEqual(answer.listed, ["0:1000:1000", "0:5000:1000"]);
		}),
);
