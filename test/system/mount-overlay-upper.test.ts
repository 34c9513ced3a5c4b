import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, chownSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type OverlayOptions, overlay } from "../../src/index.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "linux:5.19", "fs:overlay"] as const;
const MAP = "0:100000:65536";

/** The owner, the group and the mode. */
function ownerOf(path: string): string {
	const { uid, gid, mode } = statSync(path);
	return `${uid}:${gid} ${(mode & 0o7777).toString(8)}`;
}

function setOwner(path: string, uid: number, gid: number, mode: number): void {
	chownSync(path, uid, gid);
	chmodSync(path, mode);
}

interface Paths {
	lower: string;
	upper: string;
	work: string;
	target: string;
}

/** A fresh upper layer and work directory of root, and a lower layer of root. */
async function withFresh(
	body: (options: Paths & OverlayOptions, folder: string) => Promise<void>,
): Promise<void> {
	await withTmpfs(async (folder) => {
		const [lower = "", upper = "", work = "", target = ""] = mkdirs(
			folder,
			"lower",
			"upper",
			"work",
			"target",
		);
		for (const path of [lower, upper, work]) setOwner(path, 0, 0, 0o755);
		await body({ lower, upper, work, target, mapping: MAP }, folder);
	});
}

/** Whether the user may create a file in the directory. */
function mayCreate(uid: number, folder: string): boolean {
	const { status } = spawnSync("sh", ["-c", ": > by-$(id -u)"], { uid, gid: uid, cwd: folder });
	return status === 0;
}

test(
	"the root of a container owns the root directory of an overlay with a new upper layer, and may create there",
	{
		needs,
	},
	() =>
		withFresh(async (options) => {
			const mount = await overlay(options);
			assert.equal(ownerOf(options.target), "100000:100000 755");
			assert.equal(mayCreate(100000, options.target), true);
			assert.equal(mayCreate(100001, options.target), false);
			assert.equal(ownerOf(options.upper), "100000:100000 755");
			assert.equal(ownerOf(options.lower), "0:0 755");
			assert.equal(ownerOf(options.work), "0:0 755");
			await mount.unmount();
		}),
);

test(
	"a new upper layer gets the owner, the group and the mode of the topmost lower layer only",
	{ needs },
	() =>
		withFresh(async (options, folder) => {
			const [top = ""] = mkdirs(folder, "top");
			setOwner(top, 5, 6, 0o1770);
			setOwner(options.lower, 7, 8, 0o700);
			const mount = await overlay({ ...options, lower: [top, options.lower], readonly: true });
			assert.equal(ownerOf(options.target), "100005:100006 1770");
			assert.equal(ownerOf(options.upper), "100005:100006 1770");
			await mount.unmount();
		}),
);

test("with mapUpper a new upper layer has the owner of the lower layer on disk", { needs }, () =>
	withFresh(async (options) => {
		setOwner(options.lower, 5, 6, 0o750);
		const mount = await overlay({ ...options, mapping: `${MAP},4000000:0:1`, mapUpper: true });
		assert.equal(ownerOf(options.target), "100005:100006 750");
		assert.equal(ownerOf(options.upper), "5:6 750");
		await mount.unmount();
	}),
);

test("an upper layer with any entry is not changed", { needs }, () =>
	withFresh(async (options) => {
		for (const name of [".hidden", "...", "ordinary", "x".repeat(255)]) {
			writeFileSync(join(options.upper, name), "");
			const mount = await overlay(options);
			assert.equal(ownerOf(options.upper), "0:0 755", name);
			assert.equal(ownerOf(options.target), "0:0 755", name);
			await mount.unmount();
			assert.deepEqual(readdirSync(options.upper), [name]);
			rmSync(join(options.upper, name));
		}
	}),
);

test("an empty upper layer of an earlier overlay is not changed", { needs: [...needs, "linux:6.6"] }, () =>
	withFresh(async (options) => {
		await (await overlay(options)).unmount();
		setOwner(options.upper, 100007, 100007, 0o711);
		await (await overlay(options)).unmount();
		assert.equal(ownerOf(options.upper), "100007:100007 711");
		// A directory that was made anew is new, also with the old work directory.
		rmSync(options.upper, { recursive: true });
		mkdirs(options.upper, ".");
		await (await overlay(options)).unmount();
		assert.equal(ownerOf(options.upper), "100000:100000 755");
	}),
);

test("keepUpper leaves a new upper layer unchanged", { needs }, () =>
	withFresh(async (options) => {
		const mount = await overlay({ ...options, keepUpper: true });
		assert.equal(ownerOf(options.target), "0:0 755");
		await mount.unmount();
	}),
);

test(
	"a new upper layer is unchanged if the owner or the group of the lower layer is not mapped",
	{ needs },
	() =>
		withFresh(async (options) => {
			// With the identity, 65534 is a visible ID too, and stat(2) shows the unmapped 70000 as 65534.
			for (const [uid, gid] of [
				[70000, 0],
				[0, 70000],
			] as const) {
				setOwner(options.lower, uid, gid, 0o777);
				for (const mapping of [MAP, "0:0:65536"]) {
					// A new one each time, because the kernel marks that of an earlier overlay.
					rmSync(options.upper, { recursive: true });
					mkdirs(options.upper, ".");
					setOwner(options.upper, 0, 0, 0o755);
					await (await overlay({ ...options, mapping })).unmount();
					assert.equal(ownerOf(options.upper), "0:0 755");
				}
			}
		}),
);

test("an overlay that fails leaves the upper layer as it was", { needs }, () =>
	withFresh(async (options, folder) => {
		writeFileSync(join(folder, "file"), "");
		const wrong: Partial<OverlayOptions>[] = [
			{ upper: options.lower as string },
			{ work: options.upper },
			{ work: join(folder, "file") },
			{ lower: join(folder, "file") },
			{ lower: [options.lower as string, options.upper] },
		];
		for (const changed of wrong) {
			await assert.rejects(overlay({ ...options, ...changed }), failure("ERR_USERNS_MOUNT", /cannot mount/));
			assert.equal(ownerOf(options.upper), "0:0 755", JSON.stringify(changed));
			assert.equal(ownerOf(options.lower as string), "0:0 755", JSON.stringify(changed));
		}
	}),
);
