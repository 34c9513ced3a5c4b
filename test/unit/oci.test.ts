import assert from "node:assert/strict";
import { fromOci, Mapping, type OciMount } from "../../src/index.ts";
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
		[{ ...BASE, destination: "data", uidMappings, gidMappings }, /absolute path/],
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

test("fromOci throws for a misspelt option", () => {
	for (const options of [{ contianer: CONTAINER }, null, CONTAINER]) {
		assert.throws(
			() => fromOci({ ...BASE, options: ["bind", "idmap"] }, options as object),
			failure("ERR_USERNS_INVALID_ARGUMENT", /fromOci/),
		);
	}
});
