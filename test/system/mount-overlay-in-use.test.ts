import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
	Handles,
	Mapping,
	mountIdmapped,
	type OverlayOptions,
	overlay,
	UsernsError,
} from "../../src/index.ts";
import { parseMountinfo } from "../../src/mount/mountinfo.ts";
import { overlayLayers, refuseInUse } from "../../src/mount/overlay-in-use.ts";
import { type Upper, upperLayer } from "../../src/mount/overlay-layers.ts";
import { native } from "../../src/native/addon.ts";
import type { Descriptor } from "../../src/native/descriptor.ts";
import { runScript, sh } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { olderThan } from "../support/needs.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "linux:5.19", "fs:overlay"] as const;
const MAP = "0:100000:65536";
const UNKNOWN = /is in use by another overlay, which is detached, in another mount namespace, or not named/;

type Paths = Record<"lower" | "upper" | "work" | "target" | "other" | "free", string>;

async function withLayers(
	body: (paths: Paths, options: OverlayOptions, folder: string) => Promise<void>,
	parent = ".",
): Promise<void> {
	await withTmpfs(async (folder) => {
		const names = ["lower", "upper", "work", "target", "other", "free"] as const;
		const made = mkdirs(folder, ...names.map((name) => join(parent, name)));
		const paths = Object.fromEntries(names.map((name, i) => [name, made[i]])) as Paths;
		const { lower, upper, work, other } = paths;
		await body(paths, { lower, upper, work, target: other, mapping: MAP }, folder);
	});
}

/** Asserts that the overlay is refused because a layer is in use, and that no mount of this mount namespace changes. */
async function refused(options: OverlayOptions, layer: string, user: RegExp): Promise<void> {
	const before = readFileSync("/proc/self/mountinfo", "utf8");
	const error = await overlay(options).then(
		async (mount) => {
			await mount.unmount();
			return assert.fail("the overlay was made");
		},
		(reason: unknown) => reason,
	);
	assert.ok(error instanceof UsernsError, String(error));
	assert.equal(error.code, "ERR_USERNS_MOUNT");
	assert.equal(error.errnoCode, "EBUSY");
	assert.ok(error.message.includes(layer), error.message);
	assert.match(error.message, user);
	assert.match(error.hint ?? "", /unmount|Unmount/);
	assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
}

test("an upper layer or work directory of an attached overlay of this process is refused", { needs }, () =>
	withLayers(async ({ upper, work, target, free }, options) => {
		for (const mapUpper of [false, true]) {
			const mapping = mapUpper ? `${MAP},4000000:0:1` : MAP;
			const first = await overlay({ ...options, target, mapping, mapUpper });
			const user = new RegExp(`is in use by the overlay of this process at "${target}"`);
			await refused(options, `the upper layer "${upper}"`, user);
			await refused({ ...options, upper: free }, `the work directory "${work}"`, user);
			await refused({ ...options, work: free }, `the upper layer "${upper}"`, user);
			await refused({ ...options, upper: work, work: free }, `the upper layer "${work}"`, user);
			await refused({ ...options, mapping: `${MAP},4000000:0:1`, mapUpper: true }, upper, user);
			const fd = openSync(upper, "r");
			await refused({ ...options, upper: fd }, `the upper layer descriptor ${fd}`, user);
			closeSync(fd);
			// It is attached and no longer open here, so it is found in the mount table, where its map does not prevent
			// a match. Before Linux 6.13 the table has names of descriptors, which no longer lead anywhere.
			first.close();
			const nameless = mapUpper || olderThan("6.13") !== undefined;
			const closed = nameless ? UNKNOWN : new RegExp(`is in use by the overlay at "${target}"`);
			await refused(options, `the upper layer "${upper}"`, closed);
			sh("umount", target);
		}
	}),
);

test(
	"the error names a detached overlay of this process as such, and closing the overlay frees its layers",
	{ needs },
	() =>
		withLayers(async ({ upper }, options) => {
			const { target: _, ...detached } = options;
			const first = await overlay(detached);
			await refused(
				options,
				`the upper layer "${upper}"`,
				/is in use by a detached overlay of this process$/,
			);
			first.close();
			const second = await overlay(options);
			await second.unmount();
		}),
);

test("the error names an overlay of another program, whatever characters its layers have", { needs }, () =>
	withLayers(async ({ lower, upper, work, target, free }, options) => {
		const escaped = (path: string) => path.replaceAll("\\", "\\\\").replaceAll(",", "\\,");
		const lowerText = escaped(lower).replaceAll(":", "\\:");
		const layers = `lowerdir=${lowerText},upperdir=${escaped(upper)},workdir=${escaped(work)}`;
		sh("mount", "-t", "overlay", "-o", layers, "overlay", target);
		const user = { message: "" };
		await assert.rejects(overlay(options), (error: Error) => {
			user.message = error.message;
			return true;
		});
		assert.ok(user.message.endsWith(`is in use by the overlay at ${JSON.stringify(target)}`), user.message);
		await assert.rejects(overlay({ ...options, upper: free }), /the work directory .* is in use by/);
		sh("umount", target);
		await (await overlay(options)).unmount();
	}, "a,b c:d=e"),
);

test(
	"an overlay in another mount namespace is refused, and the message says why it has no name",
	{ needs },
	() =>
		withLayers(async ({ lower, upper, work, target }, options) => {
			const script = `mount -t overlay -o lowerdir=${lower},upperdir=${upper},workdir=${work} o ${target} && echo ready && exec cat`;
			const child = spawn("unshare", ["--mount", "--propagation", "private", "sh", "-c", script], {
				stdio: ["pipe", "pipe", "inherit"],
			});
			try {
				await once(child.stdout, "data");
				await refused(options, `the upper layer "${upper}"`, UNKNOWN);
			} finally {
				child.stdin.end();
				await once(child, "close");
			}
			await (await overlay(options)).unmount();
		}),
);

test("a path that another program gave relative to its own directory is not looked up", { needs }, () =>
	withLayers(async ({ upper, target }, options, folder) => {
		const script = 'cd "$0" && mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work o target';
		sh("sh", "-c", script, folder);
		await refused(
			options,
			`the upper layer "${upper}"`,
			/is in use by (the overlay at ".*\/target"|another overlay)/,
		);
		sh("umount", target);
	}),
);

test("an upper layer within another's upper layer is refused, as the kernel sees it", { needs }, () =>
	withLayers(async ({ upper, target }, options) => {
		const [inner = "", innerWork = ""] = mkdirs(upper, "deep/inner", "deep/work");
		const first = await overlay({ ...options, target });
		const user = new RegExp(`is in use by the overlay of this process at "${target}"`);
		await refused({ ...options, upper: inner, work: innerWork }, `the upper layer "${inner}"`, user);
		await first.unmount();
	}),
);

test(
	"a lower layer of another overlay, and a layer whose overlay was just unmounted, are accepted",
	{
		needs,
	},
	() =>
		withLayers(async ({ lower, upper, target, free, other }, options) => {
			const reader = await overlay({ lower: [upper, lower], target, mapping: MAP });
			await (await overlay(options)).unmount();
			await reader.unmount();
			// In the reverse order the kernel only logs a warning and accepts the layers: docs/mounts.md.
			const writer = await overlay({ ...options, target });
			await (await overlay({ lower: [upper, free], target: other, mapping: MAP })).unmount();
			await writer.unmount();
			for (let i = 0; i < 100; i++) await (await overlay(options)).unmount();
		}),
);

test("of two concurrent calls with the same layers, one is refused", { needs }, () =>
	withLayers(async (_, options) => {
		const { target: _target, ...detached } = options;
		for (let i = 0; i < 20; i++) {
			const settled = await Promise.allSettled([overlay(detached), overlay(detached), overlay(detached)]);
			const made = settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
			const reasons = settled.flatMap((each) => (each.status === "rejected" ? [String(each.reason)] : []));
			for (const mount of made) mount.close();
			assert.equal(made.length, 1);
			for (const reason of reasons) assert.match(reason, /is in use by (an|a detached) overlay/);
		}
	}),
);

test(
	"the check changes neither the layers nor the mounts, with attached layers and in a child",
	{ needs },
	() =>
		withLayers(async ({ lower, upper, work, target }) => {
			const before = readFileSync("/proc/self/mountinfo", "utf8");
			const list = () => sh("find", upper, work, "-printf", "%p %m %U %G %T@ %C@\n");
			const layers = list();
			const ask = async (withRoots: boolean) => {
				// The mounts end with the child that attached them, so each check uses its own child.
				const sources = [upper, work];
				const mounts = await Promise.all(sources.map((source) => mountIdmapped({ source, mapping: MAP })));
				const fds = mounts.map(({ fd }) => fd);
				const { error } = await native().overlay(fds, -1, -1, 0, 0, withRoots ? fds : [], true, false, 0, 0);
				for (const mount of mounts) mount.close();
				return error;
			};
			// The kernel takes layers on detached mounts since Linux 6.15; a child's mount namespace serves before.
			const ways = olderThan("6.15") === undefined ? [false, true] : [true];
			const answers = async () => {
				const all: number[] = [];
				for (const withRoots of ways) all.push(await ask(withRoots));
				return all;
			};
			assert.deepEqual(
				await answers(),
				ways.map(() => 0),
			);
			assert.equal(list(), layers);
			const attributes = spawnSync("getfattr", ["--absolute-names", "-d", "-m", "-", upper, work], {
				encoding: "utf8",
			});
			if (attributes.status === 0) assert.equal(attributes.stdout, "");
			assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
			sh("mount", "-t", "overlay", "-o", `lowerdir=${lower},upperdir=${upper},workdir=${work}`, "o", target);
			assert.deepEqual(
				await answers(),
				ways.map(() => -16),
			);
			sh("umount", target);
			assert.deepEqual(readdirSync(upper), []);
		}),
);

test("in a user namespace, where the kernel does not report it, an overlay of this mount namespace is found by its path", {
	needs: [...needs, "tool:unshare", "linux:6.3"], // a user namespace's own file system that can be mapped: tmpfs
}, () => {
	const script = `
		const { mkdirSync } = await import("node:fs");
		const { execFileSync } = await import("node:child_process");
		execFileSync("mount", ["-t", "tmpfs", "test", "/mnt"]);
		for (const name of ["lower", "upper", "work", "target", "free"]) mkdirSync("/mnt/" + name);
		execFileSync("mount", ["-t", "overlay", "-o", "lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work", "o", "/mnt/target"]);
		const options = { lower: "/mnt/lower", upper: "/mnt/upper", work: "/mnt/free", mapping: "0:0:1" };
		const error = await userns.overlay(options).catch((reason) => reason);
		execFileSync("umount", ["/mnt/target"]);
		const mount = await userns.overlay(options);
		mount.close();
		console.log(error.message);`;
	const prefix = ["unshare", "--user", "--map-root-user", "--mount"];
	const { stdout, stderr } = runScript(script, { prefix });
	assert.match(
		stdout,
		/the upper layer "\/mnt\/upper" is in use by the overlay at "\/mnt\/target"$/m,
		stderr,
	);
});

test("before Linux 6.15 the check uses its own mounts, and the overlay is made afterwards", { needs }, () =>
	withLayers(async ({ lower, upper, work }) => {
		const held: Descriptor[] = [];
		const handles = new Handles();
		let asked = 0;
		const check: Upper["check"] = async (upperLayer, workLayer, roots) => {
			asked = roots.length;
			const both = { upper: { given: upper, fd: upperLayer.fd }, work: { given: work, fd: workLayer.fd } };
			await refuseInUse(both, roots, "test");
		};
		const options = { upper, work, mapped: false, resolve: 0, detached: true, check };
		const make = () =>
			upperLayer(options, { mapping: Mapping.from(MAP), handles, userns: undefined }, "test", held);
		const bottom = await mountIdmapped({ source: lower, mapping: MAP });
		const layers = await make();
		assert.equal(asked, 1);
		const roots = [bottom.fd, layers.root?.fd ?? -1];
		const made = await native().overlay(
			[bottom.fd],
			layers.upper.fd,
			layers.work.fd,
			0,
			0,
			roots,
			false,
			false,
			0,
			0,
		);
		assert.equal(made.error, 0, made.log);
		await assert.rejects(make(), /test: the upper layer .* is in use by another overlay/);
		native().close(made.fd);
		for (const descriptor of held) descriptor.close();
		bottom.close();
		handles.release();
	}),
);

test("overlayLayers reads the paths of overlays alone, with every character that the kernel escapes", () => {
	const text = [
		"24 29 0:22 / /proc rw - proc proc rw",
		"30 29 0:40 / /a\\040b rw shared:1 - overlay o rw,lowerdir=/l,upperdir=/x\\054y\\040z\\134:u,workdir=/w,index=off",
		"31 29 0:41 / /ro rw - overlay o ro,lowerdir=/l:/m",
		"32 29 0:42 / /fake rw - tmpfs overlay rw,upperdir=/no",
		"33 29 0:43 / /relative rw - overlay none rw,lowerdir+=/,upperdir=up,workdir=wo",
		"",
	].join("\n");
	assert.deepEqual(overlayLayers(parseMountinfo(text)), [
		{ mountPoint: "/a b", paths: ["/x,y z\\:u", "/w"] },
		{ mountPoint: "/relative", paths: ["up", "wo"] },
	]);
});
