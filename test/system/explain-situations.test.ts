import assert from "node:assert/strict";
import { join } from "node:path";
import { explain } from "../../src/index.ts";
import {
	type FileOptions,
	makeFile,
	OPERATIONS,
	type Outcomes,
	remove,
	setAttributes,
	setFlag,
	verdicts,
	World,
} from "../support/explain-world.ts";
import { withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

/*
 * The situations that were measured when explain() was designed, with their numbers. M1 maps 0:100000:65536 and M2 0:200000:65536; P has no
 * map. The user namespaces N and N2 have the same maps, ID maps every ID to itself, and in W 65536 is the host's root. The disk ID 70000 is
 * outside both maps. Each answer is also compared with a process.
 */

interface Situation {
	place: string;
	room: string;
	/** uid, gid, groups; without a gid it is the uid. */
	as: readonly number[];
	/** uid, gid, mode. */
	file: readonly [uid: number, gid: number, mode: number];
	kind?: FileOptions["kind"];
	acl?: string;
	flag?: "i" | "a";
	/** The directory; 0:0 0755 if left out. */
	within?: readonly [uid: number, gid: number, mode: number];
	/** uid and gid of the chown; -1: unchanged. */
	to?: readonly [uid: number, gid: number];
	/** What stat(2) prints in the room. */
	stat?: readonly [uid: number, gid: number];
	expect: Partial<Outcomes>;
	/** Part of the reason of `execute`. */
	said?: RegExp;
}

const ALL_OK = { read: "ok", write: "ok", chown: "ok" };
const [P, M1, M2] = ["ext4 P", "ext4 M1", "ext4 M2"];
const dir = { kind: "directory" as const };
const IGNORED = /set-user-ID and set-group-ID bits are ignored/;

const SITUATIONS: Record<string, readonly Situation[]> = {
	"S1 host root, no map": [
		{ place: P, room: "host", as: [0], file: [0, 0, 0o600], stat: [0, 0], expect: ALL_OK },
	],
	"S2 N root, no map, others may read": [
		{
			place: P,
			room: "N",
			as: [0],
			file: [0, 0, 0o644],
			stat: [65534, 65534],
			expect: { read: "ok", write: "EACCES", chown: "EPERM" },
		},
	],
	"S3 N root, no map": [
		{ place: P, room: "N", as: [0], file: [0, 0, 0o600], expect: { read: "EACCES", write: "EACCES" } },
		{ place: P, room: "N", as: [0], file: [0, 0, 0o755], ...dir, expect: { create: "EACCES" } },
		{ place: P, room: "N", as: [0], file: [0, 0, 0o777], ...dir, expect: { create: "ok" } },
	],
	"S4 N root, an owner that N maps": [
		{ place: P, room: "N", as: [0], file: [100005, 100005, 0o644], stat: [5, 5], expect: ALL_OK },
		{ place: P, room: "N", as: [0], file: [100005, 100005, 0o644], to: [5, 5], expect: { chown: "ok" } },
		{
			place: P,
			room: "N",
			as: [0],
			file: [100005, 100005, 0o644],
			to: [70000, 0],
			expect: { chown: "EINVAL" },
		},
	],
	"S5 N root through M1": [
		{ place: M1, room: "N", as: [0], file: [0, 0, 0o600], stat: [0, 0], expect: ALL_OK },
		{ place: M1, room: "N", as: [0], file: [0, 0, 0o600], to: [70000, 0], expect: { chown: "EINVAL" } },
	],
	"S6 N uid 1000 through M1": [
		{
			place: M1,
			room: "N",
			as: [1000],
			file: [1000, 1000, 0o640],
			stat: [1000, 1000],
			expect: { read: "ok", write: "ok" },
		},
		{ place: M1, room: "N", as: [1000], file: [1000, 1000, 0o755], ...dir, expect: { create: "ok" } },
		{ place: M1, room: "N", as: [1000], file: [0, 0, 0o755], ...dir, expect: { create: "EACCES" } },
	],
	"S7 the visible ID of the host": [
		{
			place: M1,
			room: "host",
			as: [101000],
			file: [1000, 1000, 0o640],
			stat: [101000, 101000],
			expect: { read: "ok", write: "ok", chown: "ok" },
		},
	],
	"S8 the ID on disk has no meaning through the mount": [
		{
			place: M1,
			room: "host",
			as: [1000],
			file: [1000, 1000, 0o640],
			stat: [101000, 101000],
			expect: { read: "EACCES" },
		},
		{ place: M1, room: "host", as: [1000], file: [0, 0, 0o777], ...dir, expect: { create: "EOVERFLOW" } },
	],
	"S9 host root through M1": [
		{
			place: M1,
			room: "host",
			as: [0],
			file: [1000, 1000, 0o600],
			to: [101000, 101000],
			stat: [101000, 101000],
			expect: ALL_OK,
		},
		{ place: M1, room: "host", as: [0], file: [1000, 1000, 0o755], ...dir, expect: { create: "EOVERFLOW" } },
		{
			place: M1,
			room: "host",
			as: [0],
			file: [1000, 1000, 0o600],
			to: [100000, 101000],
			expect: { chown: "ok" },
		},
		{
			place: M1,
			room: "host",
			as: [0],
			file: [1000, 1000, 0o600],
			to: [0, 0],
			expect: { chown: "EOVERFLOW" },
		},
		{
			place: M1,
			room: "host",
			as: [0],
			file: [1000, 1000, 0o600],
			to: [-1, 0],
			expect: { chown: "EOVERFLOW" },
		},
		{
			place: M1,
			room: "host",
			as: [101000, 0],
			file: [0, 0, 0o777],
			...dir,
			expect: { create: "EOVERFLOW" },
		},
	],
	"S10 an owner that the mount does not map": [
		{
			place: M1,
			room: "host",
			as: [0],
			file: [70000, 70000, 0o666],
			to: [100000, 100000],
			stat: [65534, 65534],
			expect: { read: "ok", write: "EACCES", chown: "ok", delete: "EOVERFLOW" },
		},
		{
			place: M1,
			room: "host",
			as: [0],
			file: [70000, 70000, 0o666],
			to: [100000, -1],
			expect: { chown: "EOVERFLOW" },
		},
		{
			place: M1,
			room: "host",
			as: [0],
			file: [70000, 70000, 0o666],
			to: [-1, 100000],
			expect: { chown: "EOVERFLOW" },
		},
		{
			place: M1,
			room: "N",
			as: [0],
			file: [70000, 70000, 0o666],
			expect: { read: "ok", write: "EACCES", chown: "EPERM" },
		},
		{
			place: M1,
			room: "N",
			as: [0],
			file: [70000, 70000, 0o666],
			to: [-1, 0],
			expect: { chown: "EOVERFLOW" },
		},
		{ place: M1, room: "N", as: [0], file: [70000, 70000, 0o600], expect: { read: "EACCES" } },
		{
			place: M1,
			room: "host",
			as: [103000],
			file: [70000, 70000, 0o666],
			expect: { read: "ok", write: "EACCES" },
		},
		{
			place: M1,
			room: "host",
			as: [103000],
			file: [70000, 70000, 0o777],
			...dir,
			expect: { create: "EACCES" },
		},
		{ place: P, room: "host", as: [3001], file: [70000, 70000, 0o666], expect: { write: "ok" } },
		{ place: P, room: "host", as: [3001], file: [70000, 70000, 0o777], ...dir, expect: { create: "ok" } },
		// The change would clear the bit, which needs the owner or CAP_FOWNER over a mapped one.
		{
			place: M1,
			room: "host",
			as: [0],
			file: [70000, 70000, 0o4755],
			to: [100000, 100000],
			expect: { chown: "EPERM" },
		},
	],
	"S11 one unmapped ID": [
		{
			place: M1,
			room: "host",
			as: [0],
			file: [70000, 70000, 0o777],
			...dir,
			expect: { create: "EOVERFLOW" },
		},
		{
			place: M1,
			room: "host",
			as: [0],
			file: [0, 70000, 0o644],
			to: [100000, 100000],
			stat: [100000, 65534],
			expect: { read: "ok", write: "EACCES", chown: "EPERM" },
		},
		{ place: M1, room: "host", as: [0], file: [0, 70000, 0o644], to: [-1, 100000], expect: { chown: "ok" } },
		{ place: M1, room: "N", as: [0], file: [0, 70000, 0o644], stat: [0, 65534], expect: { chown: "ok" } },
		{ place: M1, room: "N", as: [0], file: [0, 70000, 0o644], to: [-1, 0], expect: { chown: "ok" } },
	],
	"S12 N2 root through M1": [
		{
			place: M1,
			room: "N2",
			as: [0],
			file: [0, 0, 0o644],
			stat: [65534, 65534],
			expect: { read: "ok", write: "EACCES" },
		},
		{ place: M1, room: "N2", as: [0], file: [0, 0, 0o600], expect: { read: "EACCES", write: "EACCES" } },
		{ place: M1, room: "N2", as: [0], file: [0, 0, 0o777], ...dir, expect: { create: "EOVERFLOW" } },
	],
	"S13 N root through M2": [
		{
			place: M2,
			room: "N",
			as: [0],
			file: [0, 0, 0o644],
			stat: [65534, 65534],
			expect: { read: "ok", write: "EACCES" },
		},
		{ place: M2, room: "N", as: [0], file: [0, 0, 0o777], ...dir, expect: { create: "EOVERFLOW" } },
	],
	"S14 root of a namespace with every ID": [
		{
			place: M1,
			room: "ID",
			as: [0],
			file: [0, 0, 0o600],
			to: [100000, 100000],
			stat: [100000, 100000],
			expect: ALL_OK,
		},
		{ place: M1, room: "ID", as: [0], file: [0, 0, 0o755], ...dir, expect: { create: "EOVERFLOW" } },
	],
	"S15 the host's root under another number": [
		{ place: P, room: "W", as: [65536], file: [0, 0, 0o600], stat: [65536, 65536], expect: { read: "ok" } },
		{ place: P, room: "W", as: [65536], file: [0, 0, 0o755], ...dir, expect: { create: "ok" } },
	],
	"S16 EOVERFLOW concerns creation alone": [
		{
			place: M1,
			room: "host",
			as: [3001],
			file: [1000, 1000, 0o666],
			stat: [101000, 101000],
			expect: { read: "ok", write: "ok" },
		},
		{
			place: M1,
			room: "host",
			as: [3001],
			file: [1000, 1000, 0o777],
			...dir,
			expect: { create: "EOVERFLOW" },
		},
		{
			place: M1,
			room: "host",
			as: [0],
			file: [0, 0, 0o644],
			within: [70000, 70000, 0o777],
			expect: { delete: "EACCES" },
		},
	],
	"S17 groups count as visible IDs": [
		{
			place: M1,
			room: "host",
			as: [3001, 3001, 101000],
			file: [0, 1000, 0o660],
			stat: [100000, 101000],
			expect: { read: "ok", write: "ok" },
		},
		{ place: M1, room: "host", as: [3001, 3001, 1000], file: [0, 1000, 0o660], expect: { read: "EACCES" } },
		{ place: P, room: "host", as: [3001, 3001, 1000], file: [0, 1000, 0o660], expect: { read: "ok" } },
	],
	"S18 the class of the group shuts out": [
		{
			place: M1,
			room: "host",
			as: [3001, 3001, 101000],
			file: [1000, 1000, 0o604],
			expect: { read: "EACCES" },
		},
		{ place: M1, room: "host", as: [3001], file: [1000, 1000, 0o604], expect: { read: "ok" } },
	],
	"S19 an ACL": [
		...(
			[
				["N", [1000], "ok", "ok"],
				["host", [101000], "ok", "ok"],
				["host", [1000], "EACCES", "EACCES"],
				["host", [70000], "EACCES", "EACCES"],
				["host", [3001, 3001, 102000], "ok", "EACCES"],
			] as const
		).map(([room, as, read, write]) => ({
			place: M1 as string,
			room,
			as,
			file: [0, 0, 0o600] as const,
			acl: "u:1000:rw,u:70000:rw,g:2000:r",
			expect: { read, write },
		})),
	],
	"S20 a sticky directory": [
		{
			place: M1,
			room: "N",
			as: [1000],
			file: [1000, 1000, 0o644],
			within: [70000, 70000, 0o1777],
			expect: { delete: "EACCES" },
		},
		{
			place: M1,
			room: "N",
			as: [1000],
			file: [0, 0, 0o644],
			within: [0, 0, 0o1777],
			expect: { delete: "EPERM" },
		},
		{
			place: M1,
			room: "N",
			as: [0],
			file: [70000, 70000, 0o644],
			within: [0, 0, 0o1777],
			expect: { delete: "EOVERFLOW" },
		},
		{
			place: M1,
			room: "host",
			as: [0],
			file: [70000, 70000, 0o644],
			within: [0, 0, 0o1777],
			expect: { delete: "EOVERFLOW" },
		},
		{
			place: M1,
			room: "host",
			as: [0],
			file: [0, 0, 0o644],
			within: [0, 0, 0o1777],
			expect: { delete: "ok" },
		},
		{
			place: P,
			room: "N",
			as: [0],
			file: [0, 0, 0o644],
			within: [0, 0, 0o1777],
			expect: { delete: "EPERM" },
		},
	],
	"S21 a setgid directory": [
		{
			place: M1,
			room: "N",
			as: [1005, 1005, 1000],
			file: [0, 1000, 0o2775],
			...dir,
			expect: { create: "ok" },
		},
		{
			place: M1,
			room: "N",
			as: [0],
			file: [0, 70000, 0o2777],
			...dir,
			stat: [0, 65534],
			expect: { create: "EACCES" },
		},
		{ place: M1, room: "host", as: [101005], file: [0, 70000, 0o2777], ...dir, expect: { create: "EACCES" } },
		{
			place: M1,
			room: "host",
			as: [101000, 3001, 101000],
			file: [1000, 1000, 0o2777],
			...dir,
			expect: { create: "EOVERFLOW" },
		},
	],
	"S22 a change of the group clears the bits": [
		{ place: M1, room: "N", as: [1000], file: [1000, 5, 0o2755], to: [-1, 1000], expect: { chown: "ok" } },
		{ place: M1, room: "N", as: [1000], file: [1000, 5, 0o2755], to: [-1, 0], expect: { chown: "EPERM" } },
	],
	"S23 a read-only mount, and nodev": [
		{
			place: "ext4 M1-ro",
			room: "N",
			as: [0],
			file: [0, 0, 0o600],
			expect: { read: "ok", write: "EROFS", chown: "EROFS", delete: "EROFS" },
		},
		{ place: "ext4 M1-ro", room: "N", as: [1000], file: [0, 0, 0o644], expect: { write: "EACCES" } },
		{ place: "ext4 M1-ro", room: "N", as: [0], file: [0, 0, 0o755], ...dir, expect: { create: "EROFS" } },
		{ place: "ext4 M1-ro", room: "N", as: [0], file: [0, 0, 0o666], kind: "device", expect: { write: "ok" } },
		{
			place: "ext4 M1-no",
			room: "N",
			as: [0],
			file: [0, 0, 0o666],
			kind: "device",
			expect: { read: "EACCES", write: "EACCES" },
		},
	],
	"S24 execution": [
		{
			place: P,
			room: "host",
			as: [3001],
			file: [0, 0, 0o4755],
			expect: { execute: "ok" },
			said: /grants it$/,
		},
		{
			place: M1,
			room: "host",
			as: [3001],
			file: [0, 0, 0o4755],
			expect: { execute: "ok" },
			said: /grants it$/,
		},
		{
			place: "ext4 M1-no",
			room: "host",
			as: [3001],
			file: [0, 0, 0o755],
			expect: { execute: "EACCES" },
			said: /noexec/,
		},
		{
			place: M1,
			room: "host",
			as: [3001],
			file: [70000, 70000, 0o4755],
			expect: { execute: "ok" },
			said: IGNORED,
		},
		{ place: P, room: "N", as: [1000], file: [0, 0, 0o4755], expect: { execute: "ok" }, said: IGNORED },
		{ place: M1, room: "N2", as: [1000], file: [0, 0, 0o4755], expect: { execute: "ok" }, said: IGNORED },
		{ place: M1, room: "N", as: [0], file: [0, 0, 0o644], expect: { execute: "EACCES" } },
		{ place: P, room: "N", as: [0], file: [0, 0, 0o644], expect: { execute: "EACCES" } },
	],
	"S25 immutable and append-only": [
		...(["i", "a"] as const).map((flag) => ({
			place: M1 as string,
			room: "N",
			as: [0],
			file: [0, 0, 0o644] as const,
			flag,
			expect: { read: "ok", write: "EPERM", chown: "EPERM", delete: "EPERM" },
		})),
	],
	"S26 the file that only its owner may read without a change of its access time can be read": [
		{ place: M1, room: "N", as: [0], file: [70000, 70000, 0o644], expect: { read: "ok" } },
		{ place: P, room: "N", as: [0], file: [0, 0, 0o644], expect: { read: "ok" } },
	],
	"S27 host root on a file system of N": [
		{
			place: "foreign",
			room: "host@N",
			as: [0],
			file: [100000, 100000, 0o600],
			to: [0, 0],
			stat: [100000, 100000],
			expect: ALL_OK,
		},
		{
			place: "foreign",
			room: "host@N",
			as: [0],
			file: [100000, 100000, 0o755],
			...dir,
			expect: { create: "EOVERFLOW" },
		},
		{
			place: "foreign",
			room: "N@N",
			as: [0],
			file: [0, 0, 0o644],
			stat: [65534, 65534],
			expect: { chown: "EPERM" },
		},
	],
	"S28 a set-user-ID program and other users on a file system of N": [
		...(["host@N", "N@N", "N2@N"] as const).map((room) => ({
			place: "foreign",
			room,
			as: [room === "host@N" ? 101000 : 1000],
			file: [100000, 100000, 0o4755] as const,
			expect: { execute: "ok" },
			said: room === "N2@N" ? IGNORED : /bits count only inside the user namespace of the file system/,
		})),
		{
			place: "foreign",
			room: "host@N",
			as: [3001],
			file: [100000, 100000, 0o777],
			...dir,
			expect: { create: "EOVERFLOW" },
		},
		{ place: "foreign", room: "host@N", as: [3001], file: [100000, 100000, 0o666], expect: { write: "ok" } },
	],
	"S29 a uid of the host without capabilities": [
		{ place: P, room: "host", as: [1000, 0], file: [0, 0, 0o600], expect: { read: "EACCES" } },
		{ place: P, room: "host", as: [1000, 0], file: [0, 0, 0o777], ...dir, expect: { create: "ok" } },
	],
	"S31 a file of another user in a directory for all": [
		{
			place: M1,
			room: "host",
			as: [3001],
			file: [1000, 1000, 0o644],
			within: [0, 0, 0o777],
			expect: { delete: "ok" },
		},
	],
};

const needs = [
	"root",
	"mounts",
	"linux:6.15",
	"loop",
	"fs:ext4",
	...(["cc", "mkfs.ext4", "setfacl", "chattr", "nsenter"] as const).map((tool) => `tool:${tool}` as const),
] as const;

test("explain() in the measured situations", { needs, timeout: 120_000 }, async (t) => {
	await withTmpfs(async (folder) => {
		const world = new World(folder);
		try {
			await world.addFileSystem("ext4", { M1: "0:100000:65536", M2: "0:200000:65536" });
			await world.addRoom("N", "0:100000:65536");
			await world.addRoom("N2", "0:200000:65536");
			await world.addRoom("W", "0:100000:65536,65536:0:100000");
			await world.addRoom("ID", "0:0:4294967295");
			await world.addForeign("N", ["host", "N2"]);
			for (const [name, list] of Object.entries(SITUATIONS)) {
				await t.test(name, async () => {
					for (const [index, situation] of list.entries())
						await meet(world, situation, `${name}, ${index + 1}`);
				});
			}
		} finally {
			await world.end();
		}
	});
});

async function meet(world: World, situation: Situation, message: string): Promise<void> {
	const { as, kind = "file", acl, flag, within = [0, 0, 0o755], to, stat, expect, said } = situation;
	const [place, room] = [world.places.get(situation.place), world.rooms.get(situation.room)];
	assert.ok(place !== undefined && room !== undefined);
	const foreign = place.name === "foreign";
	const [base, maker] = foreign ? [place.path, world.rooms.get("N@N")?.pid] : [place.raw, undefined];
	makeFile(join(base, "s"), "directory", maker);
	makeFile(join(base, "s/f"), kind, maker);
	const [uid = 0, gid = uid, ...groups] = as;
	const subject = { uid, gid, groups };
	const target = to ?? [uid, gid];
	const raw = join(place.raw, "s/f");
	const set = (path: string, [owner, group, mode]: Situation["file"], list?: string) =>
		setAttributes(path, { kind, uid: owner, gid: group, mode, ...(list !== undefined && { acl: list }) });
	set(raw, situation.file, acl);
	set(join(place.raw, "s"), within);
	if (flag !== undefined) setFlag(raw, `+${flag}`);
	try {
		const path = join(place.path, "s/f");
		const word = (id: number) => (id < 0 ? "" : `${id}`);
		const answer = await explain(path, {
			as: subject,
			chownTo: `${word(target[0])}:${word(target[1])}`,
			...(room.pid !== undefined && { in: room.pid }),
		});
		const all = verdicts(answer);
		const names = Object.keys(expect) as (keyof Outcomes)[];
		assert.deepEqual(Object.fromEntries(names.map((name) => [name, all[name]])), expect, message);
		if (stat !== undefined) assert.deepEqual([answer.uid.stat, answer.gid.stat], stat, message);
		if (said !== undefined) assert.match(answer.access?.execute.reason ?? "", said, message);
		const [toUid, toGid] = target.map((id) => (id < 0 ? 0xffffffff : id)) as [number, number];
		const { outcomes: got } = world.attempt(room, subject, path, raw, { uid: toUid, gid: toGid, groups: [] });
		for (const name of OPERATIONS) assert.equal(all[name], got[name], `${message}: ${name}`);
	} finally {
		if (flag !== undefined) setFlag(raw, `-${flag}`);
		remove(join(place.raw, "s"));
	}
}
