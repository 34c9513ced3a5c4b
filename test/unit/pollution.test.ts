import assert from "node:assert/strict";
import { fromOci, Mapping, UsernsError } from "../../src/index.ts";
import { outcome, outcomeWith, readersOf } from "../support/pollution.ts";
import { test } from "../support/test.ts";

test("Object.prototype: a property that parsed JSON lacks is not read from the prototype", async () => {
	const extents = [{ containerID: 7, hostID: 7, size: 7 }];
	const evil: Record<string, unknown> = {
		...{ uidMappings: extents, gidMappings: extents, containerID: 7, hostID: 7, size: 7 },
		...{ source: "/evil", destination: "/evil", type: "bind", options: ["bind", "idmap"], 0: extents[0] },
		...{
			uid: 7,
			gid: 7,
			omitsZero: true,
			value: "idmap=uids=7-7-7;gids=7-7-7",
			bundle: "/evil",
			features: {},
		},
		...{
			names: () => 7,
			skipOtherLines: true,
			container_id: 7,
			host_id: 7,
			length: 7,
			uids: [],
			UidMap: ["7:7:7"],
		},
		...{ linux: { mountExtensions: { idmap: { enabled: true } } }, keepId: true, enabled: true },
		...{ atime: "noatime", idmap: "tree", recursive: true, readonly: true, 1: "rbind" },
		...{
			code: "EVIL",
			hint: "evil",
			errno: -1,
			syscall: "evil",
			step: "evil",
			mapping: "evil",
			cause: "evil",
		},
	};
	const parse = (text: string) => JSON.parse(text);
	const list = '[{"containerID": 0, "hostID": 5, "size": 5}]';
	const both = `"uidMappings": ${list}, "gidMappings": ${list}`;
	const holes = (value: unknown): never => {
		const sparse: unknown[] = [];
		sparse[1] = value;
		return sparse as never;
	};
	const context = { container: "0:5:5" };
	const calls: (() => unknown)[] = [
		() => Mapping.from({}).id,
		() => Mapping.from(parse(`{"uidMappings": ${list}}`)).id,
		() => Mapping.from(parse('{"uidMappings": [{}]}')).id,
		() => Mapping.from(parse('{"uidMappings": [{"containerID": 0, "hostID": 5}]}')).id,
		() => Mapping.from({ uidMappings: holes(extents[0]) }).id,
		() => Mapping.from(parse(`{"__proto__": {${both}}}`)).id,
		() => Mapping.parse("{}", "oci").id,
		() => Mapping.parse(`{"uidMappings": ${list}, "gidMappings": [{}]}`, "oci").id,
		() => Mapping.parse(`{"__proto__": {${both}}}`, "oci").id,
		() => Mapping.parse(holes("0:1:1")).id,
		() => fromOci({} as never),
		() => fromOci(parse('{"destination": "/b", "options": ["bind", "idmap"]}'), context),
		() => fromOci(parse('{"source": "/a", "destination": "/b"}'), context),
		() => fromOci(parse('{"source": "/a", "destination": "/b", "options": ["bind"]}'), context),
		() => fromOci(parse('{"source": "/a", "destination": "/b", "type": "bind"}'), context),
		() => fromOci(parse(`{"source": "/a", "destination": "/b", "type": "bind", ${both}}`)),
		() => fromOci({ source: "/a", destination: "/b", options: holes("bind") }, context),
		() => fromOci({ source: "/a", destination: "/b", options: ["bind", "idmap=uids=0-5-5"] }, context),
		() => fromOci({ source: "a", destination: "b", options: ["bind", "idmap"] }, context),
		() =>
			fromOci({ source: "/a", destination: "/b", options: ["bind", "idmap"] }, { ...context, features: {} }),
		() => Mapping.parse("u:alice:0:1").id,
		() => Mapping.parse("arch: amd64\nlxc.idmap: u 0 1 1", "lxc.conf").id,
		() => Mapping.parse('{"uids": [{}], "gids": [{"host_id": 1}]}', "cri").id,
		() => Mapping.parse('{"GidMap": ["0:1:1"]}').id,
		() => Mapping.parse('[{"Isuid": true}]', "incus-json").id,
		() => new UsernsError("ERR_USERNS_CLOSED", "it is closed").toJSON(),
		() => Object.hasOwn(new UsernsError("ERR_USERNS_CLOSED", "it is closed", {}), "cause"),
	];
	for (const [index, call] of calls.entries()) {
		const expected = await outcome(call);
		for (const [name, value] of Object.entries(evil)) {
			const words = `call ${index}: ${name}`;
			assert.deepEqual(await readersOf(name, call), [], words);
			for (const each of [value, 5n]) assert.equal(await outcomeWith(name, each, call), expected, words);
		}
	}
});
