import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
	chmodSync,
	chownSync,
	closeSync,
	existsSync,
	openSync,
	readFileSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { mountIdmapped, type OverlayOptions, overlay, UsernsError } from "../../src/index.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "linux:5.19", "fs:overlay"] as const;
/** Disk 0–65535 is visible as 100000–165535, as a container's user namespace has it. */
const MAP = "0:100000:65536";

interface Layers {
	one: string;
	two: string;
	upper: string;
	work: string;
	target: string;
}

/** Two lower layers. The upper one masks a file of the other. All new files belong to 100000 outside. */
async function withLayers(body: (layers: Layers, folder: string) => Promise<void>): Promise<void> {
	await withTmpfs(async (folder) => {
		const [one = "", two = "", upper = "", work = "", target = ""] = mkdirs(
			folder,
			...["one", "two", "rw/upper", "rw/work", "target"],
		);
		const files: [string, number, string][] = [
			[join(one, "both"), 5, "from one"],
			[join(two, "both"), 6, "from two"],
			[join(two, "below"), 7, "below"],
		];
		for (const [path, uid, text] of files) {
			writeFileSync(path, text);
			chownSync(path, uid, uid);
			chmodSync(path, 0o666);
		}
		for (const path of [one, two, upper]) chmodSync(path, 0o777);
		await body({ one, two, upper, work, target }, folder);
	});
}

/** Writes as a user of the container, in the overlay. */
function writeAs(uid: number, script: string, folder: string): void {
	const { status, stderr } = spawnSync("sh", ["-c", script], {
		uid,
		gid: uid,
		cwd: folder,
		encoding: "utf8",
	});
	assert.equal(status, 0, stderr);
}

test(
	"overlay maps the lower layers, not the upper one: a copied-up file has the visible IDs on disk",
	{ needs },
	() =>
		withLayers(async ({ one, two, upper, work, target }) => {
			const mount = await overlay({ lower: [one, two], upper, work, target, mapping: MAP, nosuid: true });
			assert.equal(mountAt(target)?.type, "overlay");
			assert.equal(mountAt(target)?.id, mount.mountId);
			assert.ok(mountAt(target)?.options.includes("nosuid"));
			assert.deepEqual(mountAt(target)?.optional, []);
			assert.equal(readFileSync(join(target, "both"), "utf8"), "from one");
			assert.equal(statSync(join(target, "both")).uid, 100005);
			assert.equal(statSync(join(target, "below")).uid, 100007);
			writeAs(100042, "echo more >> below; echo new > new", target);
			assert.deepEqual(
				[statSync(join(target, "below")).uid, statSync(join(target, "new")).uid],
				[100007, 100042],
			);
			assert.deepEqual(
				[statSync(join(upper, "below")).uid, statSync(join(upper, "new")).uid],
				[100007, 100042],
			);
			assert.equal(statSync(join(two, "below")).uid, 7);
			assert.equal(readFileSync(join(two, "below"), "utf8"), "below");
			await mount.unmount();
			assert.equal(mountAt(target), undefined);
			assert.equal(existsSync(join(target, "both")), false);
		}),
);

test("mapUpper: a copied-up file has the IDs of the layers on disk", { needs }, () =>
	withLayers(async ({ one, two, upper, work, target }) => {
		// The caller's own 0 is visible too: disk 4000000 stands for it, and so it owns the work directory.
		const mapping = `${MAP},4000000:0:1`;
		const mount = await overlay({ lower: [one, two], upper, work, target, mapping, mapUpper: true });
		chownSync(upper, 0, 0);
		assert.equal(statSync(join(target, "both")).uid, 100005);
		writeAs(100042, "echo more >> below; echo new > new", target);
		assert.deepEqual(
			[statSync(join(target, "below")).uid, statSync(join(target, "new")).uid],
			[100007, 100042],
		);
		assert.deepEqual([statSync(join(upper, "below")).uid, statSync(join(upper, "new")).uid], [7, 42]);
		assert.equal(statSync(join(work, "work")).uid, 4000000);
		await mount.unmount();
		await assert.rejects(
			overlay({ lower: one, upper, work, target, mapping: MAP, mapUpper: true }),
			failure(
				"ERR_USERNS_INVALID_ARGUMENT",
				/the caller's own IDs \(uid 0, gid 0\) must be among the visible/,
			),
		);
	}),
);

test(
	"overlay works read-only without an upper layer, detached, with descriptors as layers, and attaches once",
	{ needs },
	() =>
		withLayers(async ({ one, two, target }) => {
			const fd = openSync(two, "r");
			const mount = await overlay({ lower: [one, fd], mapping: MAP });
			closeSync(fd);
			assert.equal(mount.target, undefined);
			assert.equal(statSync(`/proc/self/fd/${mount.fd}/below`).uid, 100007);
			await mount.attach(target);
			assert.equal(statSync(join(target, "below")).uid, 100007);
			assert.throws(() => writeFileSync(join(target, "new"), ""), { code: "EROFS" });
			await assert.rejects(mount.attach(target), failure("ERR_USERNS_ATTACHED", /already/));
			await mount.unmount();
			assert.equal(mountAt(target), undefined);
		}),
);

test(
	"an overlay that would be read-only without a request is an error, and every failure leaves nothing",
	{ needs: [...needs, "path:/dev/shm"] },
	() =>
		withLayers(async ({ one, two, upper, work, target }, folder) => {
			const before = readFileSync("/proc/self/mountinfo", "utf8");
			const base = { lower: [one, two], upper, work, target, mapping: MAP };
			const [elsewhere = ""] = mkdirs("/dev/shm", `userns-test-${process.pid}`);
			const cases: [Partial<OverlayOptions>, string, RegExp][] = [
				[{ lower: [one, join(folder, "none")] }, "ERR_USERNS_MOUNT", /opening the source: ENOENT/],
				[{ lower: [one, "/proc"] }, "ERR_USERNS_MOUNT", /for the proc at \/proc: setting the map/],
				[{ upper: join(folder, "none") }, "ERR_USERNS_MOUNT", /none.*adding the upper layer: ENOENT/],
				[{ work: join(upper, "none") }, "ERR_USERNS_MOUNT", /none.*adding the work directory: ENOENT/],
				[{ work: elsewhere }, "ERR_USERNS_MOUNT", /on different mounts/],
				[{ target: join(folder, "none") }, "ERR_USERNS_MOUNT", /opening the target: ENOENT/],
				[{ upper: join(one, "both") }, "ERR_USERNS_MOUNT", /the upper layer .* is not a directory$/],
			];
			for (const [options, code, message] of cases) {
				await assert.rejects(
					overlay({ ...base, ...options }),
					failure(code, message),
					JSON.stringify(options),
				);
			}
			assert.equal(spawnSync("rm", ["-rf", elsewhere]).status, 0);
			assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
			// An upper layer in which the caller has no ID. The kernel would mount it read-only, and only log the
			// reason.
			const [mapped = ""] = mkdirs(folder, "mapped");
			const around = await mountIdmapped({ source: join(folder, "rw"), target: mapped, mapping: MAP });
			await assert.rejects(
				overlay({ ...base, upper: join(mapped, "upper"), work: join(mapped, "work") }),
				failure("ERR_USERNS_MOUNT", /whether the overlay is writable: EROFS/),
			);
			assert.equal(mountAt(target), undefined);
			await around.unmount();
		}),
);

test("wrong options of an overlay throw before any system call", async () => {
	const base = { lower: ["/not/there", "/nor/there"], mapping: MAP };
	const cases: [unknown, RegExp][] = [
		[undefined, /missing/],
		[{ mapping: MAP }, /a lower layer must be a path/],
		[{ lower: [], mapping: MAP }, /no lower layer/],
		[{ lower: "/not/there", mapping: MAP }, /needs two lower layers/],
		[{ lower: base.lower }, /mapping and userns are both missing/],
		[{ ...base, upper: "/a" }, /upper and work must be set together/],
		[{ ...base, mapUpper: true }, /mapUpper needs an upper layer/],
		[{ ...base, keepUpper: true }, /keepUpper needs an upper layer/],
		[{ ...base, keepUpper: 1 }, /keepUpper must be true or false/],
		[{ ...base, uper: "/a" }, /unknown option "uper"/],
		[{ ...base, handles: {} }, /handles must be a Handles/],
		[{ ...base, into: 1 }, /into needs a target/],
		[{ ...base, readonly: "yes" }, /readonly must be true or false/],
	];
	for (const [options, message] of cases) {
		await assert.rejects(overlay(options as OverlayOptions), failure("ERR_USERNS_INVALID_ARGUMENT", message));
	}
});

test("an overlay takes every mode of access times", { needs }, () =>
	withLayers(async ({ one, two, target }) => {
		for (const [atime, seen] of [
			["noatime", "noatime"],
			["relatime", "relatime"],
			["strictatime", undefined],
		] as const) {
			const mount = await overlay({ lower: [one, two], target, mapping: MAP, atime });
			const { options = [] } = mountAt(target) ?? {};
			assert.deepEqual(
				options.filter((option) => option.endsWith("atime")),
				seen === undefined ? [] : [seen],
			);
			await mount.unmount();
		}
	}),
);

test('resolve: "no-symlinks" refuses a link on the path of every layer', { needs }, () =>
	withLayers(async ({ one, two, upper, work, target }, folder) => {
		const link = (path: string, name: string) => {
			symlinkSync(path, join(folder, name));
			return join(folder, name);
		};
		const layers = { lower: [one, two], upper, work, target, mapping: MAP };
		const links: Partial<OverlayOptions>[] = [
			{ lower: [one, link(two, "lower-link")] },
			{ upper: link(upper, "upper-link") },
			{ work: link(work, "work-link") },
		];
		const before = readFileSync("/proc/self/mountinfo", "utf8");
		for (const changed of links) {
			await assert.rejects(
				overlay({ ...layers, ...changed, resolve: "no-symlinks" }),
				(error) => error instanceof UsernsError && error.errnoCode === "ELOOP",
				JSON.stringify(changed),
			);
			assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
			const mount = await overlay({ ...layers, ...changed });
			await mount.unmount();
		}
	}),
);
