import assert from "node:assert/strict";
import { fromOci, Mapping, type OciFeatures, type OciMount } from "../../src/index.ts";
import { failure } from "../support/errors.ts";
import { test } from "../support/test.ts";

const uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
const gidMappings = [{ containerID: 0, hostID: 200000, size: 65536 }];
const BASE: OciMount = { source: "/srv/data", destination: "/data", type: "bind" };
const OWN = Mapping.from({ uidMappings, gidMappings }).id;
const CONTAINER = "0:300000:65536";

function options(mount: Partial<OciMount>, container?: string): Record<string, unknown> {
	const { mapping, ...rest } = fromOci({ ...BASE, ...mount }, container === undefined ? {} : { container });
	return { mapping: Mapping.from(mapping as Mapping).id, ...rest };
}

test("fromOci applies the runtime-spec's rules on mappings and idmap", () => {
	const paths = { source: "/srv/data", target: "/data" };
	const own = { uidMappings, gidMappings };
	const cases: [string, Partial<OciMount>, string | undefined, object][] = [
		["mappings without a flag", own, undefined, { mapping: OWN, ...paths }],
		[
			"the mount's win over the container's",
			{ ...own, options: ["idmap"] },
			CONTAINER,
			{ mapping: OWN, ...paths },
		],
		["flag without mappings", { options: ["bind", "idmap"] }, CONTAINER, { mapping: CONTAINER, ...paths }],
		[
			"empty lists are none",
			{ uidMappings: [], gidMappings: [], options: ["idmap"] },
			CONTAINER,
			{ mapping: CONTAINER, ...paths },
		],
		[
			"rbind without ridmap: the map is for the top alone",
			{ ...own, options: ["rbind"] },
			undefined,
			{ mapping: OWN, ...paths, recursive: true, recursiveIdmap: false },
		],
		[
			"rbind with ridmap",
			{ options: ["rbind", "ridmap"] },
			CONTAINER,
			{ mapping: CONTAINER, ...paths, recursive: true, recursiveIdmap: true },
		],
		[
			"bind with ridmap: nothing from below comes along",
			{ options: ["bind", "ridmap"] },
			CONTAINER,
			{ mapping: CONTAINER, ...paths },
		],
		[
			"the last flag wins",
			{ ...own, options: ["rbind", "ridmap", "idmap"] },
			undefined,
			{ mapping: OWN, ...paths, recursive: true, recursiveIdmap: false },
		],
		["bind after rbind", { ...own, options: ["rbind", "bind"] }, undefined, { mapping: OWN, ...paths }],
	];
	for (const [name, mount, container, expected] of cases)
		assert.deepEqual(options(mount, container), expected, name);
});

test("fromOci reads the other options, and of contrary ones the last", () => {
	const words = (...list: string[]) => {
		const { mapping, source, target, ...rest } = options({ uidMappings, gidMappings, options: list });
		void [mapping, source, target];
		return rest;
	};
	assert.deepEqual(words("ro", "nosuid", "nodev", "noexec", "nosymfollow", "nodiratime"), {
		...{ readonly: true, nosuid: true, nodev: true, noexec: true, nosymfollow: true, nodiratime: true },
	});
	assert.deepEqual(words("rro", "rnosuid", "rnoexec"), { readonly: true, nosuid: true, noexec: true });
	assert.deepEqual(words("ro", "rw", "nosuid", "suid", "defaults"), {});
	assert.deepEqual(words("rw", "ro"), { readonly: true });
	assert.deepEqual(words("noatime"), { atime: "noatime" });
	assert.deepEqual(words("noatime", "relatime"), { atime: "relatime" });
	assert.deepEqual(words("noatime", "atime"), {});
	assert.deepEqual(words("rprivate"), { propagation: "private" });
	assert.deepEqual(words("private", "rslave"), { propagation: "slave" });
	assert.deepEqual(words("unbindable"), { propagation: "unbindable" });
});

test("fromOci throws an error that names what the rules do not allow", () => {
	const cases: [unknown, RegExp][] = [
		[{ ...BASE, uidMappings }, /has uidMappings but no gidMappings/],
		[{ ...BASE, gidMappings, options: ["idmap"] }, /has gidMappings but no uidMappings/],
		[{ ...BASE }, /neither mappings nor idmap or ridmap/],
		[{ ...BASE, options: ["idmap"] }, /has idmap without mappings, and container is not set/],
		[{ ...BASE, options: ["rbind", "ridmap"] }, /has ridmap without mappings/],
		[{ ...BASE, uidMappings, gidMappings, options: ["size=5"] }, /unknown option "size=5"/],
		[{ ...BASE, uidMappings, gidMappings, options: ["toString"] }, /unknown option "toString"/],
		[{ ...BASE, uidMappings, gidMappings, options: ["tmpcopyup"] }, /unknown option "tmpcopyup"/],
		[{ ...BASE, uidMappings, gidMappings, options: "ro" }, /must be an array of strings/],
		[{ ...BASE, type: "tmpfs", uidMappings, gidMappings }, /is not a bind mount; its type is "tmpfs"/],
		[{ destination: "/data", type: "bind", uidMappings, gidMappings }, /the source must be a path/],
		[{ source: "/a", type: "bind", uidMappings, gidMappings }, /the destination must be a path/],
		[
			{ ...BASE, source: "d", uidMappings, gidMappings },
			/the source "d" .* is relative to the bundle, and bundle is not set/,
		],
		[
			{ ...BASE, uidMappings, gidMappings, options: ["idmap=uids=0-0-1;gids=0-0-1"] },
			/mappings in two places: .*"idmap=uids=0-0-1;gids=0-0-1"/,
		],
		[{ ...BASE, uidMappings: null, gidMappings, options: ["idmap"] }, /has gidMappings but no uidMappings/],
		[{ ...BASE, uidMappings: null, gidMappings: null, options: null }, /neither mappings nor idmap/],
		[{ ...BASE, uidMappings, gidMappings, options: ["idmaps=x"] }, /unknown option "idmaps=x"/],
		[null, /must be an object/],
	];
	for (const [mount, message] of cases) {
		assert.throws(() => fromOci(mount as OciMount), failure("ERR_USERNS_INVALID_ARGUMENT", message));
	}
	assert.throws(
		() => fromOci({ ...BASE, uidMappings: [{ containerID: 0, hostID: 0, size: 0 }], gidMappings }),
		failure("ERR_USERNS_INVALID_MAPPING", /size/),
	);
});

test("fromOci reads the mappings in the value of idmap and ridmap, of crun and of podman before 4.4", () => {
	const read = (words: string[], container?: string) => {
		const { mapping, recursiveIdmap } = options({ options: words }, container);
		return [mapping, recursiveIdmap];
	};
	assert.deepEqual(read(["rbind", "idmap=uids=1000-0-1;gids=100-0-1"]), ["u:1000:0:1,g:100:0:1", false]);
	assert.deepEqual(read(["rbind", "ridmap=uids=1000-0-1;gids=100-0-1"]), ["u:1000:0:1,g:100:0:1", true]);
	// A kind that is left out, and the IDs after @, come from the container.
	assert.deepEqual(read(["rbind", "ridmap=uids=@1000-0-1"], "0:300000:10"), [
		"u:1000:300000:1,g:0:300000:10",
		true,
	]);
	// The last word decides, also about the value.
	assert.deepEqual(read(["rbind", "idmap=uids=1-0-1;gids=1-0-1", "ridmap"], CONTAINER), [CONTAINER, true]);
	for (const [word, message] of [
		["idmap=uids=0-0-1", /the gids come from the container's mapping/],
		["idmap=", /expected "uids=" or "gids="/],
		["idmap=uids=0-0-0;gids=0-0-1", /size must be at least 1/],
	] as const) {
		assert.throws(() => read(["bind", word]), failure("ERR_USERNS_INVALID_MAPPING", message));
	}
});

test("fromOci finds a relative source in the bundle, and a relative destination below the root", () => {
	const paths = (mount: Partial<OciMount>, bundle?: string) => {
		const { source, target } = fromOci(
			{ ...BASE, options: ["idmap"], ...mount },
			{ container: CONTAINER, bundle },
		);
		return [source, target];
	};
	assert.deepEqual(paths({ source: "d" }, "/b"), ["/b/d", "/data"]);
	assert.deepEqual(paths({ source: "d/" }, "/b//"), ["/b/d/", "/data"]);
	assert.deepEqual(paths({ source: "../d" }, "/"), ["/../d", "/data"]);
	assert.deepEqual(paths({ source: "/d" }, "/b"), ["/d", "/data"]);
	assert.deepEqual(paths({ destination: "data" }), ["/srv/data", "/data"]);
	for (const bundle of ["b", "", "/b\0", 5 as unknown as string]) {
		assert.throws(
			() => paths({ source: "d" }, bundle),
			failure("ERR_USERNS_INVALID_ARGUMENT", /bundle must be/),
		);
	}
});

test("fromOci takes null for left out, as Go writes it", () => {
	const mount = { ...BASE, uidMappings: null, gidMappings: null, options: ["bind", "idmap"], type: null };
	assert.equal(options(mount, "0:100000:65536").mapping, "0:100000:65536");
	assert.equal(options({ uidMappings, gidMappings, options: null }).mapping, OWN);
});

test("fromOci throws if the features document of the runtime does not have ID-mapped mounts", () => {
	const read = (features: unknown) =>
		fromOci({ ...BASE, uidMappings, gidMappings }, { features: features as OciFeatures }).target;
	assert.equal(read(undefined), "/data");
	assert.equal(
		read({ ociVersionMin: "1.0.0", linux: { mountExtensions: { idmap: { enabled: true } } } }),
		"/data",
	);
	for (const [features, message] of [
		[
			{ linux: { mountExtensions: { idmap: { enabled: false } } } },
			/"\/data" without its map: .*enabled is false$/,
		],
		[{ linux: { mountExtensions: { idmap: { enabled: null } } } }, /is not in its features document$/],
		[{ linux: { mountExtensions: { idmap: null } } }, /is not in its features document$/],
		[{ linux: { mountExtensions: null } }, /is not in its features document$/],
		[{ linux: null }, /is not in its features document$/],
		[{}, /is not in its features document$/],
		[null, /must be the features document of a runtime, not null/],
		["runc", /must be the features document of a runtime, not "runc"/],
	] as const) {
		assert.throws(() => read(features), failure("ERR_USERNS_INVALID_ARGUMENT", message));
	}
});

test("fromOci throws for a misspelt option", () => {
	for (const options of [{ contianer: CONTAINER }, null, CONTAINER]) {
		assert.throws(
			() => fromOci({ ...BASE, options: ["bind", "idmap"] }, options as object),
			failure("ERR_USERNS_INVALID_ARGUMENT", /fromOci/),
		);
	}
});
