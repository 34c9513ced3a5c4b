import assert from "node:assert/strict";
import {
	chmodSync,
	chownSync,
	closeSync,
	existsSync,
	mkdirSync,
	openSync,
	readFileSync,
	renameSync,
	statSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
	Handles,
	Mapping,
	type OverlayOptions,
	overlay,
	UserNamespace,
	UsernsError,
} from "../../src/index.ts";
import { lowerLayers } from "../../src/mount/overlay-layers.ts";
import { native } from "../../src/native/addon.ts";
import type { Descriptor } from "../../src/native/descriptor.ts";
import { sh } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { olderThan } from "../support/needs.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "linux:5.19", "fs:overlay"] as const;
const MAP = "0:100000:65536";
/**
 * Linux 6.7 sets each layer by itself. Before, all layers are one text of 255 bytes: their numbers before 6.5, their names in /proc in
 * 6.5 and 6.6.
 */
const MANY = olderThan("6.5") !== undefined ? 60 : olderThan("6.7") !== undefined ? 10 : 128;

/** Layers with a file "all", which has the layer's number, and a file with that number as its name. The topmost is first. */
function makeLayers(folder: string, count: number): string[] {
	const layers = mkdirs(folder, ...Array.from({ length: count }, (_, i) => `layer-${i}`));
	for (const [i, layer] of layers.entries()) {
		writeFileSync(join(layer, "all"), `${i}`);
		writeFileSync(join(layer, `${i}`), "");
		chownSync(join(layer, `${i}`), i, i);
	}
	return layers;
}

/** Makes the overlay, and returns its folder with the number of mounts that were copied and mapped for it. */
async function layered(
	options: Omit<OverlayOptions, "mapping">,
	body: (folder: string, copies: number) => void,
	between: () => void = () => {},
): Promise<void> {
	const addon = native();
	const { tree } = addon;
	let copies = 0;
	addon.tree = (...args) => {
		if (copies++ === 0) between();
		return tree(...args);
	};
	try {
		const mount = await overlay({ mapping: MAP, ...options });
		try {
			body(`/proc/self/fd/${mount.fd}`, copies);
		} finally {
			mount.close();
		}
	} finally {
		addon.tree = tree;
	}
}

test(
	`${MANY} layers below one directory take one ID-mapped mount, and keep their order and owners`,
	{ needs },
	() =>
		withTmpfs(async (folder) => {
			const lower = makeLayers(folder, MANY);
			await layered({ lower }, (seen, copies) => {
				assert.equal(copies, 1);
				assert.equal(readFileSync(join(seen, "all"), "utf8"), "0");
				for (let i = 0; i < MANY; i++) assert.equal(statSync(join(seen, `${i}`)).uid, 100000 + i);
			});
			await layered({ lower: lower.toReversed() }, (seen) => {
				assert.equal(readFileSync(join(seen, "all"), "utf8"), `${MANY - 1}`);
			});
			assert.equal(readFileSync("/proc/self/mountinfo", "utf8").includes("idmapped"), false);
		}),
);

test(
	"layers of one map are attached by it in a child's mount namespace, as before Linux 6.15",
	{ needs },
	() =>
		withTmpfs(async (folder) => {
			const layers = makeLayers(folder, 8);
			const held: Descriptor[] = [];
			const handles = new Handles();
			const map = { mapping: Mapping.from(MAP), handles, userns: undefined };
			const before = readFileSync("/proc/self/mountinfo", "utf8");
			const { fds, roots } = await lowerLayers(layers, map, undefined, held);
			assert.deepEqual([fds.length, roots.length], [8, 1]);
			const made = await native().overlay(fds, -1, -1, 0, 0, roots, false, false, 0, 0);
			assert.equal(made.error, 0, made.log);
			assert.equal(readFileSync(`/proc/self/fd/${made.fd}/all`, "utf8"), "0");
			assert.equal(statSync(`/proc/self/fd/${made.fd}/7`).uid, 100007);
			assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
			native().close(made.fd);
			for (const descriptor of held) descriptor.close();
			handles.release();
		}),
);

test(
	"layers on several mounts, and a layer behind a mount, are mapped separately",
	{
		needs: [...needs, "linux:6.3"], // two of the mounts are tmpfs
	},
	() =>
		withTmpfs(async (folder) => {
			const [one = "", two = "", ...more] = makeLayers(folder, 5);
			const [other = ""] = mkdirs(folder, "other");
			sh("mount", "-t", "tmpfs", "userns-test", other);
			const [three = ""] = mkdirs(other, "layer");
			writeFileSync(join(three, "all"), "other");
			await layered({ lower: [three, one, two, ...more] }, (seen, copies) => {
				assert.ok(copies >= 6);
				assert.equal(readFileSync(join(seen, "all"), "utf8"), "other");
				assert.equal(statSync(join(seen, "1")).uid, 100001);
			});
			// The same file system at another place, and a mount on a layer's own directory.
			writeFileSync(join(three, "other"), "");
			mkdirs(one, "layer");
			sh("mount", "--bind", other, one);
			await layered({ lower: [two, join(one, "layer"), ...more] }, (seen, copies) => {
				assert.ok(copies >= 5);
				assert.equal(readFileSync(join(seen, "all"), "utf8"), "1");
				assert.ok(existsSync(join(seen, "other")), "the directory below the mount is no layer");
			});
		}),
);

test("one map serves layers behind symbolic links; descriptors are mapped separately", { needs }, () =>
	withTmpfs(async (folder) => {
		const [one = "", two = "", three = "", four = "", five = ""] = makeLayers(folder, 5);
		const [deep = ""] = mkdirs(folder, "a/b/c");
		symlinkSync(two, join(deep, "link"));
		await layered({ lower: [join(deep, "link"), one, `${three}/../layer-2/.`, four] }, (seen, copies) => {
			assert.equal(copies, 1);
			assert.equal(readFileSync(join(seen, "all"), "utf8"), "1");
		});
		const fd = openSync(one, "r");
		await layered({ lower: [fd, two, three, four, five] }, (seen, copies) => {
			assert.equal(copies, 5);
			assert.equal(readFileSync(join(seen, "all"), "utf8"), "0");
		});
		closeSync(fd);
	}),
);

test(
	"a directory that cannot be searched through the map does not prevent an overlay of what is below it",
	{
		needs,
	},
	() =>
		withTmpfs(async (folder) => {
			const [parent = ""] = mkdirs(folder, "parent/a/..");
			const lower = makeLayers(parent, 5);
			chownSync(parent, 70000, 70000);
			chmodSync(parent, 0o700);
			for (const layer of lower) chmodSync(layer, 0o755);
			await layered({ lower }, (seen, copies) => {
				assert.equal(copies, 6); // the one that was not used, and one for each layer
				assert.equal(readFileSync(join(seen, "all"), "utf8"), "0");
			});
			const [inner = ""] = mkdirs(parent, "inner");
			const [below = ""] = makeLayers(inner, 1);
			await layered({ lower: [below, ...lower.slice(1)] }, (seen) =>
				assert.equal(readFileSync(join(seen, "all"), "utf8"), "0"),
			);
		}),
);

test(
	"a layer that is replaced by a link during the call is refused, and no other directory is a layer",
	{ needs },
	() =>
		withTmpfs(async (folder) => {
			const lower = makeLayers(folder, 5);
			const [secret = ""] = mkdirs(folder, "secret");
			writeFileSync(join(secret, "secret"), "");
			const [, victim = ""] = lower;
			await assert.rejects(
				layered(
					{ lower, resolve: "no-symlinks" },
					() => assert.fail("the overlay was made"),
					() => {
						renameSync(victim, `${victim}-old`);
						symlinkSync(secret, victim);
					},
				),
				(error) => error instanceof UsernsError && error.errnoCode === "ELOOP",
			);
		}),
);

test(
	"an overlay takes a user namespace instead of a mapping, which may be closed during the call",
	{ needs },
	() =>
		withTmpfs(async (folder) => {
			const [one = "", two = "", upper = "", work = ""] = [
				...makeLayers(folder, 2),
				...mkdirs(folder, "u", "w"),
			];
			const userns = await UserNamespace.create(MAP);
			const path = `/proc/self/fd/${userns.fd}`;
			const bare = UserNamespace.open(path);
			for (const each of [userns, bare]) {
				const making = overlay({ lower: [one, two], upper, work, userns: each });
				each.close();
				const mount = await making;
				assert.equal(mount.mapping.id, MAP);
				assert.equal(statSync(`/proc/self/fd/${mount.fd}/1`).uid, 100001);
				mount.close();
			}
			const closed = overlay({ lower: [one, two], userns });
			await assert.rejects(closed, failure("ERR_USERNS_CLOSED", /closed/));
			const other = await UserNamespace.create(MAP);
			const mapped = overlay({ lower: one, upper, work, userns: other, mapUpper: true });
			await assert.rejects(mapped, failure("ERR_USERNS_INVALID_ARGUMENT", /the caller's own IDs/));
			other.close();
		}),
);

test("mapping, userns and handles exclude each other as in mountIdmapped", { needs: ["linux"] }, async () => {
	const userns = await UserNamespace.create("0:0:1").catch(() => undefined);
	const lower = ["/not/there", "/nor/there"];
	const handles = new Handles();
	const cases: [object, RegExp][] = [
		[{}, /mapping and userns are both missing/],
		[{ userns: {} }, /userns must be a UserNamespace/],
		[{ userns: {}, mapping: MAP }, /mapping and userns cannot be used together/],
	];
	if (userns !== undefined) cases.push([{ userns, handles }, /handles and userns cannot be used together/]);
	for (const [options, message] of cases) {
		await assert.rejects(overlay({ lower, ...options }), failure("ERR_USERNS_INVALID_ARGUMENT", message));
	}
	userns?.close();
	handles.release();
});

test("the kernel's limit on layers is an error of one line before any system call", {
	needs: ["linux"],
}, async () => {
	const lower = Array.from({ length: 501 }, (_, i) => `/not/there/${i}`);
	await assert.rejects(
		overlay({ lower, mapping: MAP }),
		failure(
			"ERR_USERNS_INVALID_ARGUMENT",
			/^overlay: there are 501 lower layers, and the kernel accepts at most 500$/,
		),
	);
});

test(
	"500 layers are accepted, or refused as too many before Linux 6.7, and an error names only two of them",
	{
		needs,
	},
	() =>
		withTmpfs(async (folder) => {
			const lower = mkdirs(folder, ...Array.from({ length: 500 }, (_, i) => `${i}`));
			if (MANY < 128) {
				const refused = failure("ERR_USERNS_MOUNT", /"[^"]*\/1" and 498 more layers with .*E2BIG/);
				return assert.rejects(overlay({ lower, mapping: MAP }), refused);
			}
			await layered({ lower }, (_, copies) => assert.equal(copies, 1));
			await assert.rejects(
				overlay({ lower: [...lower.slice(1), lower[1] as string], mapping: MAP }),
				failure(
					"ERR_USERNS_MOUNT",
					/^cannot mount an overlay of "[^"]*\/1", "[^"]*\/2" and 498 more layers with/,
				),
			);
		}),
);

test(
	"a file as a layer is an error that names the layer, and so is an overlay that the kernel cannot map",
	{
		needs,
	},
	() =>
		withTmpfs(async (folder) => {
			const [one = "", two = "", upper = "", work = ""] = mkdirs(folder, "one", "two", "upper", "work");
			const file = join(folder, "file");
			writeFileSync(file, "");
			const cases: [Partial<OverlayOptions>, string][] = [
				[{ lower: [one, file] }, "the lower layer"],
				[{ lower: [file, one] }, "the lower layer"],
				[{ lower: [openSync(file, "r"), one] }, "the lower layer"],
				[{ lower: one, upper: file, work }, "the upper layer"],
				[{ lower: one, upper, work: file }, "the work directory"],
			];
			for (const [options, words] of cases) {
				const message = new RegExp(`^[^\\n]*: ${words} ("${file}"|descriptor \\d+) is not a directory$`);
				await assert.rejects(
					overlay({ lower: [], mapping: MAP, ...options }),
					failure("ERR_USERNS_MOUNT", message),
				);
			}
			for (const [{ lower }] of cases) {
				if (Array.isArray(lower)) for (const each of lower) if (typeof each === "number") closeSync(each);
			}
			const [on = ""] = mkdirs(folder, "on");
			mkdirSync(join(two, "from"));
			sh("mount", "-t", "overlay", "-o", `lowerdir=${one}:${two}`, "userns-test", on);
			const made = await overlay({ lower: [on, upper], mapping: MAP }).catch((error: unknown) => error);
			// The kernel decides: from Linux 7.3 on an overlay can be ID-mapped.
			if (made instanceof UsernsError) {
				assert.match(
					made.message,
					new RegExp(`^cannot mount "${on}" [^\\n]*for the overlay at ${on}: [^\\n]*EINVAL`),
				);
				assert.match(made.hint ?? "", /map the layers of that overlay/);
			} else {
				const mount = made as Awaited<ReturnType<typeof overlay>>;
				assert.equal(statSync(`/proc/self/fd/${mount.fd}/from`).uid, 100000);
				mount.close();
			}
		}),
);
