import assert from "node:assert/strict";
import { once } from "node:events";
import {
	chmodSync,
	chownSync,
	closeSync,
	openSync,
	readdirSync,
	readFileSync,
	statSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import {
	fromOci,
	type IdMap,
	Mapping,
	mountIdmapped,
	type OciMount,
	UserNamespace,
} from "../../src/index.ts";
import { sh } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

/*
 * The situations in which runc mounts an entry with a map, with the owners that its own tests expect (tests/integration/idmap.bats): what a
 * runtime shows, mountIdmapped(fromOci(entry)) shows too. The owners are those that a process of the container sees.
 */

const needs = ["linux", "root", "mounts"] as const;
const USERNS = Mapping.from("0:100000:65536");
const OVERFLOW = Number(
	process.platform === "linux" ? readFileSync("/proc/sys/kernel/overflowuid", "utf8").trim() : 65534,
);

type Owners = Record<string, readonly [uid: number, gid: number]>;

/** The owners on disk of the files below the bundle. */
const ON_DISK: Owners = {
	"source-1/foo": [0, 0],
	"source-2/foo": [1, 1],
	"source-multi1/foo": [100, 211],
	"source-multi1/bar": [101, 222],
	"source-multi1/baz": [102, 233],
	"source-multi2/foo": [200, 211],
	"source-multi2/bar": [201, 222],
	"source-multi2/baz": [202, 233],
	"source-multi3/foo": [5000528, 6000491],
	"source-multi3/bar": [5000133, 6000337],
	"source-multi3/baz": [5000999, 6000444],
	"tree/foo": [100, 211],
	"tree/bar": [200, 222],
	"tree/baz": [300, 233],
};

/** A bundle with these files, and with source-multi1 and source-multi2 mounted below tree. */
async function withBundle(body: (bundle: string) => Promise<void>): Promise<void> {
	await withTmpfs(async (bundle) => {
		chmodSync(bundle, 0o755);
		for (const [file, [uid, gid]] of Object.entries(ON_DISK)) {
			mkdirs(bundle, file.split("/")[0] as string);
			writeFileSync(join(bundle, file), "");
			chownSync(join(bundle, file), uid, gid);
		}
		for (const name of ["multi1", "multi2"]) {
			const [target = ""] = mkdirs(bundle, `tree/${name}`);
			sh("mount", "--bind", join(bundle, `source-${name}`), target);
		}
		await body(bundle);
	});
}

function extents(text: string): IdMap[] {
	return Mapping.from(text).toJSON().uidMappings;
}

/** An entry as runc's tests write it. */
function entry(
	source: string,
	destination: string,
	uids: string,
	gids: string,
	...words: string[]
): OciMount {
	const mappings = uids === "" ? {} : { uidMappings: extents(uids), gidMappings: extents(gids) };
	return { source, destination, options: words.length === 0 ? ["bind"] : words, ...mappings };
}

/** Mounts the entries below rootfs. An entry without a map is an ordinary bind mount, which fromOci() refuses. */
async function mountAll(bundle: string, mounts: readonly OciMount[], container?: Mapping): Promise<void> {
	const [rootfs = ""] = mkdirs(bundle, "rootfs");
	for (const mount of mounts) {
		mkdirs(rootfs, mount.destination);
		if (mount.uidMappings === undefined && !mount.options?.some((word) => /idmap/.test(word))) {
			assert.throws(
				() => fromOci(mount, { bundle }),
				failure("ERR_USERNS_INVALID_ARGUMENT", /neither mappings/),
			);
			sh("mount", "--bind", join(bundle, mount.source as string), join(rootfs, mount.destination));
			continue;
		}
		const options = fromOci(mount, { bundle, ...(container && { container }) });
		(await mountIdmapped({ ...options, targetRoot: rootfs })).close();
	}
}

/** The owner that a process of the container sees; of the host, if it has no user namespace. */
function owner(path: string, container: Mapping | undefined): [uid: number, gid: number] {
	const { uid, gid } = statSync(path);
	if (container === undefined) return [uid, gid];
	return [container.uidToContainer(uid) ?? OVERFLOW, container.gidToContainer(gid) ?? OVERFLOW];
}

const none: readonly [number, number] = [OVERFLOW, OVERFLOW];
const MAP = "0:100000:65536";
const basic = (n: number, destination = `/tmp/mount-${n}`) => entry(`source-${n}/`, destination, MAP, MAP);
const bind = (n: number) => entry(`source-${n}/`, `/tmp/bind-${n}`, "", "");

/** Three files below a directory, with the uids and gids in their order. */
function three(folder: string, uids: readonly number[], gids: readonly number[]): Owners {
	return Object.fromEntries(
		["foo", "bar", "baz"].map((name, i) => [`${folder}/${name}`, [uids[i] as number, gids[i] as number]]),
	);
}
const same = (folder: string, id: number): Owners => three(folder, [id, id, id], [id, id, id]);

const TREE_UIDS = "100:101000:3,200:102000:3,300:103000:3";
const TREE_GIDS = "210:101100:10,220:102200:10,230:103300:10";
const tree = (...words: string[]) => [entry("tree/", "/tmp/tree", TREE_UIDS, TREE_GIDS, "rbind", ...words)];
const implied = (word: string) => [entry("tree/", "/tmp/tree", "", "", "rbind", word)];
const complicated = (add: number) => [
	entry(
		"source-multi1/",
		"/tmp/m1",
		[1, 2, 3].map((i) => `${99 + i}:${add + 1000 * i}:1`).join(),
		[1, 2, 3].map((i) => `${200 + 10 * i}:${add + 1100 * i}:10`).join(),
	),
];
const several = (add: number) => [
	entry("source-multi1/", "/tmp/m1", `100:${add + 1100}:3`, `200:${add + 1900}:50`),
	entry("source-multi2/", "/tmp/m2", `200:${add + 2200}:3`, `200:${add + 2900}:100`),
	entry("source-multi3/", "/tmp/m3", `5000000:${add + 3000}:1000`, `6000000:${add + 3000}:500`),
];
const twice = [
	entry("source-multi1/", "/tmp/m1", "100:100000:100", "200:100000:100"),
	entry("source-multi1/", "/tmp/m1-alt", "100:101000:100", "200:102000:100"),
];
const severalSeen = {
	...three("/tmp/m1", [1100, 1101, 1102], [1911, 1922, 1933]),
	...three("/tmp/m2", [2200, 2201, 2202], [2911, 2922, 2933]),
	...three("/tmp/m3", [3528, 3133, 3999], [3491, 3337, 3444]),
};
const complicatedSeen = three("/tmp/m1", [1000, 2000, 3000], [1101, 2202, 3303]);
const treeInside = three("/tmp/tree", [1000, 2000, 3000], [1101, 2202, 3303]);
const treeOutside = three("/tmp/tree", [101000, 102000, 103000], [101101, 102202, 103303]);
const belowUnmapped = { ...same("/tmp/tree/multi1", OVERFLOW), ...same("/tmp/tree/multi2", OVERFLOW) };
const belowOnDisk = {
	...three("/tmp/tree/multi1", [100, 101, 102], [211, 222, 233]),
	...three("/tmp/tree/multi2", [200, 201, 202], [211, 222, 233]),
};

type Scenario = [name: string, container: Mapping | undefined, mounts: OciMount[], seen: Owners];

const scenarios: Scenario[] = [
	["one mount, in a user namespace", USERNS, [basic(1)], { "/tmp/mount-1/foo": [0, 0] }],
	["one mount, without a user namespace", undefined, [basic(1)], { "/tmp/mount-1/foo": [100000, 100000] }],
	["a relative destination", USERNS, [basic(1, "tmp/mount-1")], { "/tmp/mount-1/foo": [0, 0] }],
	[
		"beside a bind mount, in a user namespace",
		USERNS,
		[basic(1), bind(1)],
		{ "/tmp/mount-1/foo": [0, 0], "/tmp/bind-1/foo": none },
	],
	[
		"beside a bind mount, without a user namespace",
		undefined,
		[basic(1), bind(1)],
		{ "/tmp/mount-1/foo": [100000, 100000], "/tmp/bind-1/foo": [0, 0] },
	],
	[
		"two mounts beside two bind mounts",
		USERNS,
		[basic(1), bind(1), bind(2), basic(2)],
		{ "/tmp/mount-1/foo": [0, 0], "/tmp/mount-2/foo": [1, 1] },
	],
	[
		"one source with two maps, in a user namespace",
		USERNS,
		twice,
		{
			...three("/tmp/m1", [0, 1, 2], [11, 22, 33]),
			...three("/tmp/m1-alt", [1000, 1001, 1002], [2011, 2022, 2033]),
		},
	],
	[
		"one source with two maps, without a user namespace",
		undefined,
		twice,
		{
			...three("/tmp/m1", [100000, 100001, 100002], [100011, 100022, 100033]),
			...three("/tmp/m1-alt", [101000, 101001, 101002], [102011, 102022, 102033]),
		},
	],
	["three sources with three maps, in a user namespace", USERNS, several(100000), severalSeen],
	["three sources with three maps, without a user namespace", undefined, several(0), severalSeen],
	["maps of several extents, in a user namespace", USERNS, complicated(100000), complicatedSeen],
	["maps of several extents, without a user namespace", undefined, complicated(0), complicatedSeen],
	["a tree without a flag, in a user namespace", USERNS, tree(), { ...treeInside, ...belowUnmapped }],
	["a tree without a flag, without a user namespace", undefined, tree(), { ...treeOutside, ...belowOnDisk }],
	["a tree with idmap, in a user namespace", USERNS, tree("idmap"), { ...treeInside, ...belowUnmapped }],
	[
		"a tree with idmap, without a user namespace",
		undefined,
		tree("idmap"),
		{ ...treeOutside, ...belowOnDisk },
	],
	[
		"a tree with ridmap, in a user namespace",
		USERNS,
		tree("ridmap"),
		{
			...treeInside,
			...three("/tmp/tree/multi1", [1000, 1001, 1002], [1101, 2202, 3303]),
			...three("/tmp/tree/multi2", [2000, 2001, 2002], [1101, 2202, 3303]),
		},
	],
	[
		"a tree with ridmap, without a user namespace",
		undefined,
		tree("ridmap"),
		{
			...treeOutside,
			...three("/tmp/tree/multi1", [101000, 101001, 101002], [101101, 102202, 103303]),
			...three("/tmp/tree/multi2", [102000, 102001, 102002], [101101, 102202, 103303]),
		},
	],
	[
		"a tree with idmap and the container's map",
		USERNS,
		implied("idmap"),
		{ ...three("/tmp/tree", [100, 200, 300], [211, 222, 233]), ...belowUnmapped },
	],
	[
		"a tree with ridmap and the container's map",
		USERNS,
		implied("ridmap"),
		{ ...three("/tmp/tree", [100, 200, 300], [211, 222, 233]), ...belowOnDisk },
	],
];

for (const [name, container, mounts, seen] of scenarios) {
	test(`an OCI mount shows the owners that runc shows: ${name}`, { needs }, () =>
		withBundle(async (bundle) => {
			await mountAll(bundle, mounts, container);
			const found = Object.keys(seen).map((file) => [file, owner(join(bundle, "rootfs", file), container)]);
			assert.deepEqual(Object.fromEntries(found), seen);
			// The files on disk are as before.
			for (const [file, ids] of Object.entries(ON_DISK))
				assert.deepEqual(owner(join(bundle, file), undefined), ids);
		}),
	);
}

test("an OCI mount uses the map of a user namespace that the container joins", { needs }, () =>
	withBundle(async (bundle) => {
		const namespace = await UserNamespace.create(USERNS);
		try {
			await mountAll(bundle, implied("idmap"), await namespace.mapping());
			const seen = { ...three("/tmp/tree", [100, 200, 300], [211, 222, 233]), ...belowUnmapped };
			const found = Object.keys(seen).map((file) => [file, owner(join(bundle, "rootfs", file), USERNS)]);
			assert.deepEqual(Object.fromEntries(found), seen);
		} finally {
			namespace.close();
		}
	}),
);

test(
	"a file that the container's root makes in an OCI mount belongs to root, inside and on disk",
	{ needs },
	() =>
		withBundle(async (bundle) => {
			await mountAll(bundle, [basic(1)], USERNS);
			const made = join(bundle, "rootfs/tmp/mount-1/made");
			const namespace = await UserNamespace.create(USERNS);
			try {
				const child = namespace.spawn("touch", [made], { stdio: "inherit" });
				const [status] = await once(child, "exit");
				assert.equal(status, 0);
			} finally {
				namespace.close();
			}
			assert.deepEqual(owner(made, USERNS), [0, 0]);
			assert.deepEqual(owner(join(bundle, "source-1/made"), undefined), [0, 0]);
		}),
);

test("root without a user namespace cannot make a file in an OCI mount that does not map it", { needs }, () =>
	withBundle(async (bundle) => {
		await mountAll(bundle, [basic(1)]);
		assert.throws(() => closeSync(openSync(join(bundle, "rootfs/tmp/mount-1/made"), "w")), {
			code: "EOVERFLOW",
		});
		assert.deepEqual(readdirSync(join(bundle, "source-1")), ["foo"]);
	}),
);

test("an OCI mount has its propagation", { needs }, () =>
	withBundle(async (bundle) => {
		await mountAll(bundle, [{ ...basic(1), options: ["bind", "shared"] }], USERNS);
		const { optional = [] } = mountAt(join(bundle, "rootfs/tmp/mount-1")) ?? {};
		assert.match(optional.join(" "), /shared:\d/);
	}),
);

test("twenty OCI mounts leave no descriptor open", { needs }, () =>
	withBundle(async (bundle) => {
		const count = () => readdirSync("/proc/self/fd").length;
		await mountAll(bundle, [basic(1)], USERNS);
		const before = count();
		const more = Array.from({ length: 10 }, (_, i) => [
			basic(1, `/tmp/mount-1${i}`),
			basic(2, `/tmp/mount-2${i}`),
		]);
		await mountAll(bundle, more.flat(), USERNS);
		assert.equal(count(), before);
		assert.deepEqual(owner(join(bundle, "rootfs/tmp/mount-11/foo"), USERNS), [0, 0]);
	}),
);
