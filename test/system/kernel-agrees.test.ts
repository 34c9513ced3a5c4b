import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { type IdMap, Mapping, UserNamespace } from "../../src/index.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "tool:nsenter"] as const;

/**
 * The /proc files of a program in the namespace, as it reads them: lines of three numbers, and the word of setgroups.
 */
function seenFromInside(ns: UserNamespace): { uid: string[]; gid: string[]; setgroups: string } {
	const script = "cat /proc/self/uid_map; echo --; cat /proc/self/gid_map; echo --; cat /proc/self/setgroups";
	const result = spawnSync(
		"nsenter",
		["--user=/proc/self/fd/3", "--preserve-credentials", "sh", "-c", script],
		{
			stdio: ["ignore", "pipe", "inherit", ns.fd],
			encoding: "utf8",
		},
	);
	assert.equal(result.status, 0);
	const [uid = "", gid = "", setgroups = ""] = result.stdout.split("--\n");
	const lines = (text: string) =>
		text
			.split("\n")
			.filter((line) => line !== "")
			.map((line) => line.trim().split(/\s+/).join(":"));
	return { uid: lines(uid), gid: lines(gid), setgroups: setgroups.trim() };
}

function many(count: number): IdMap[] {
	return Array.from({ length: count }, (_, i) => ({ containerID: i * 2, hostID: i * 3, size: 1 }));
}

const cases: [name: string, mapping: Parameters<typeof Mapping.from>[0], uid: string[], gid: string[]][] = [
	["one extent", "0:100000:65536", ["0:100000:65536"], ["0:100000:65536"]],
	["uids and gids apart", "u:0:5:1,g:0:7:2", ["0:5:1"], ["0:7:2"]],
	["uids only", "u:0:100000:10", ["0:100000:10"], []],
	["gids only", "g:0:100000:10", [], ["0:100000:10"]],
	["neighbours that merge", "10:110:5,0:100:10", ["0:100:15"], ["0:100:15"]],
	["the last ID", "4294967294:4294967294:1", ["4294967294:4294967294:1"], ["4294967294:4294967294:1"]],
	["all IDs", "0:0:4294967295", ["0:0:4294967295"], ["0:0:4294967295"]],
	["an inverted order", "0:9:1,1:8:1,2:7:1", ["0:9:1", "1:8:1", "2:7:1"], ["0:9:1", "1:8:1", "2:7:1"]],
	...[5, 6, 7, 340].map((count): (typeof cases)[number] => {
		const extents = many(count);
		const lines = extents.map(({ containerID, hostID, size }) => `${containerID}:${hostID}:${size}`);
		const mapping = { uidMappings: [...extents].reverse(), gidMappings: extents };
		return [`${count} extents, the uids given backwards`, mapping, lines, lines];
	}),
];

for (const [name, input, uid, gid] of cases) {
	test(`the kernel holds exactly the canonical mapping, with setgroups denied: ${name}`, {
		needs,
	}, async () => {
		const ns = await UserNamespace.create(input);
		assert.deepEqual(seenFromInside(ns), { uid, gid, setgroups: "deny" });
		// The bare descriptor gives the same, and it has no cached mapping.
		const bare = UserNamespace.open(`/proc/self/fd/${ns.fd}`);
		const read = await bare.mapping();
		assert.deepEqual(read.toJSON(), Mapping.from(input).toJSON());
		assert.deepEqual(bare.mappingSync().toJSON(), read.toJSON());
		assert.equal(await bare.setgroups(), "deny");
		bare.close();
		ns.close();
	});
}

test('setgroups: "allow" is what the kernel then shows', { needs }, () => {
	const ns = UserNamespace.createSync("0:100000:65536", { setgroups: "allow" });
	assert.equal(seenFromInside(ns).setgroups, "allow");
	ns.close();
});
