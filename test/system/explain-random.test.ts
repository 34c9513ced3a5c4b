import assert from "node:assert/strict";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import { explain, type OwnerChain, UsernsError } from "../../src/index.ts";
import { SEED } from "../support/arbitrary.ts";
import {
	type FileOptions,
	makeFile,
	OPERATIONS,
	type Place,
	type Room,
	remove,
	type Subject,
	setAttributes,
	setFlag,
	verdicts,
	World,
} from "../support/explain-world.ts";
import { withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

/*
 * Random files, mounts and IDs. For each, explain() says what the IDs may do, and then a process with the IDs tries it: the oracle is the
 * kernel, and no disagreement is allowed, neither in the answer nor in the errno.
 */

const LONG = process.env.USERNS_LONG === "1";
const SITUATIONS = Number(process.env.USERNS_RUNS ?? (LONG ? 5000 : 250));
const FILE_SYSTEMS = LONG ? ["tmpfs", "ext4", "xfs", "btrfs"] : ["tmpfs", "ext4"];
/** Its mounts are not mapped here, because Linux before 7.3 cannot. */
const OVERLAY = "overlay";

const MAPS = {
	M1: "0:100000:65536",
	M2: "0:200000:65536",
	M3: "0:0:1,5:100005:1,1000:1000:2,65534:65534:1,70000:101000:1,u:101000:70000:1",
};
const ROOMS = {
	N: "0:100000:65536",
	N2: "0:200000:65536",
	W: "0:100000:65536,65536:0:100000",
	N5: "0:100000:5",
	ID: "0:0:4294967295",
};
const ON_DISK = [
	0, 0, 5, 1000, 1000, 1001, 3001, 65534, 65535, 70000, 100000, 100005, 101000, 165534, 201000,
];
const IDS: Record<string, readonly number[]> = {
	host: [0, 0, 0, 0, 1000, 3001, 65534, 70000, 100000, 100005, 101000, 101001, 165534, 200000, 201000],
	ID: [0, 1000, 3001, 65534, 100000, 101000, 201000],
	W: [0, 5, 1000, 1001, 65534, 65536, 66536, 68537],
	N5: [0, 1, 4],
	NN: [0, 5, 995, 999],
};
const INSIDE = [0, 0, 5, 1000, 1000, 1001, 3001, 65534];

/** mulberry32 */
function generator(seed: number): () => number {
	let state = seed;
	return () => {
		state = (state + 0x6d2b79f5) | 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
	};
}

function choices(seed: number) {
	const random = generator(seed);
	const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
	const chance = (part: number) => random() < part;
	return { pick, chance, random };
}

type Choices = ReturnType<typeof choices>;

function randomFile(
	{ pick, chance, random }: Choices,
	kind: FileOptions["kind"],
	parent: boolean,
	foreign: boolean,
): FileOptions {
	const bits = parent
		? pick([0o755, 0o777, 0o775, 0o711, 0o700, 0o770, 0o733])
		: pick([
				0o644,
				0o666,
				0o600,
				0o755,
				0o777,
				0o750,
				0o640,
				0o604,
				0o070,
				0o007,
				Math.floor(random() * 0o1000),
			]);
	const special =
		kind === "directory"
			? pick([0, 0, 0o1000, 0o2000, 0o3000])
			: chance(0.2)
				? pick([0o4000, 0o2000, 0o6000])
				: 0;
	// An ACL of a file system of N has IDs that N maps.
	const named = ON_DISK.filter((id) => !foreign || (id >= 100000 && id < 165536));
	const perm = () => pick(["r", "rw", "rwx", "x", "wx", "-"]);
	const acl = chance(0.2)
		? Array.from({ length: pick([1, 2, 3]) }, () => `${pick(["u", "g"])}:${pick(named)}:${perm()}`).join(",")
		: undefined;
	const flag =
		(kind === "file" || kind === "directory") && chance(0.08) ? pick(["i", "a"] as const) : undefined;
	const owner = pick(ON_DISK);
	return {
		kind,
		uid: owner,
		gid: chance(0.6) ? owner : pick(ON_DISK),
		mode: bits | special,
		...(acl !== undefined && { acl }),
		...(flag !== undefined && { flag }),
	};
}

function randomSubject({ pick, chance }: Choices, room: Room): Subject {
	const [name = ""] = room.name.split("@");
	const ids = IDS[name] ?? INSIDE;
	const uid = pick(ids);
	return { uid, gid: chance(0.6) ? uid : pick(ids), groups: chance(0.3) ? [pick(ids), pick(ids)] : [] };
}

test("explain() agrees with a process in every situation", {
	needs: [
		"root",
		"mounts",
		"linux:6.15",
		"loop",
		"tool:cc",
		"tool:setfacl",
		"tool:chattr",
		"tool:nsenter",
		"fs:overlay",
		...FILE_SYSTEMS.flatMap((type) => [
			`fs:${type}` as const,
			...(type === "tmpfs" ? [] : [`tool:mkfs.${type}` as const]),
		]),
	],
	timeout: LONG ? 1_800_000 : 120_000,
}, async (t) => {
	t.diagnostic(`USERNS_SEED=${SEED}`);
	await withTmpfs(async (folder) => {
		const world = new World(folder);
		try {
			for (const type of FILE_SYSTEMS) await world.addFileSystem(type, MAPS);
			await world.addFileSystem(OVERLAY, {});
			for (const [name, mapping] of Object.entries(ROOMS)) await world.addRoom(name, mapping);
			await world.addNestedRoom("NN", "N", "0 5 1000");
			await world.addForeign("N", ["host", "N2", "NN"]);
			const wrong: string[] = [];
			const counts = { ok: 0, refused: 0, unknown: 0, unreachable: 0 };
			for (let i = 0; i < SITUATIONS; i++) await compare(world, i, wrong, counts);
			t.diagnostic(
				`${SITUATIONS} situations: ${counts.ok} allowed, ${counts.refused} refused, ${counts.unknown} unknown, ${counts.unreachable} files that root cannot open`,
			);
			assert.deepEqual(wrong, []);
			assert.ok(counts.ok > SITUATIONS / 2 && counts.refused > SITUATIONS / 2, "both answers are common");
			assert.ok(counts.unknown * 50 <= counts.ok + counts.refused, `${counts.unknown} unknown`);
		} finally {
			await world.end();
		}
	});
});

/** The owner on disk that is the subject inside. */
function onDisk(place: Place, room: Room, { uid, gid }: Subject): { uid?: number; gid?: number } {
	const outside = { uid: room.mapping?.uidToHost(uid) ?? uid, gid: room.mapping?.gidToHost(gid) ?? gid };
	if (place.mapping === undefined) return outside;
	const disk = {
		uid: place.mapping.uidToContainer(outside.uid),
		gid: place.mapping.gidToContainer(outside.gid),
	};
	return {
		...(disk.uid !== undefined && { uid: disk.uid }),
		...(disk.gid !== undefined && { gid: disk.gid }),
	};
}

/** The oracle of the chain is the owner that the test gave to the file, and the maps that it made. */
function checkChain(
	chain: OwnerChain,
	place: Place,
	room: Room,
	kind: "uid" | "gid",
	disk: number,
	message: string,
): void {
	const visible = place.mapping === undefined ? disk : place.mapping[`${kind}ToHost`](disk);
	const inside =
		visible === undefined || room.mapping === undefined
			? visible
			: room.mapping[`${kind}ToContainer`](visible);
	assert.deepEqual([chain.disk, chain.visible, chain.inside], [disk, visible, inside], message);
	const lost = visible === undefined ? "mount" : inside === undefined ? "namespace" : undefined;
	assert.equal(chain.lost?.at, lost, message);
	assert.equal(chain.real, chain.stat === 65534 ? inside === 65534 : undefined, message);
}

async function compare(
	world: World,
	index: number,
	wrong: string[],
	counts: Record<"ok" | "refused" | "unknown" | "unreachable", number>,
): Promise<void> {
	const random = choices(SEED + index);
	const { pick, chance } = random;
	const place = pick([...world.places.values()]) as Place;
	const foreign = place.name === "foreign";
	const rooms = [...world.rooms.values()].filter(({ name }) => name.includes("@") === foreign);
	// Root of the host alone may repair an owner.
	const room = (chance(0.2) ? rooms.find(({ name }) => name.startsWith("host")) : pick(rooms)) as Room;
	const subject = randomSubject(random, room);
	const kinds = ["file", "file", "file", "file", "directory", "directory", "directory", "fifo"] as const;
	const kind = pick(foreign ? kinds : ([...kinds, "device"] as const));
	const parent = randomFile(random, "directory", true, foreign);
	const file = randomFile(random, kind, false, foreign);
	for (const each of [parent, file]) if (chance(0.35)) Object.assign(each, onDisk(place, room, subject));
	const to = chance(0.4) ? subject : randomSubject(random, room);
	const [name, within] = [`s${index}`, join(`s${index}`, "f")];
	const raw = join(place.raw, within);
	const maker = foreign ? world.rooms.get("N@N")?.pid : undefined;
	makeFile(join(foreign ? place.path : place.raw, name), "directory", maker);
	makeFile(foreign ? join(place.path, within) : raw, kind, maker);
	setAttributes(raw, file);
	setAttributes(join(place.raw, name), parent);
	for (const [at, flag] of [
		[raw, file.flag],
		[join(place.raw, name), parent.flag],
	] as const) {
		if (flag !== undefined) setFlag(at, `+${flag}`);
	}
	try {
		const path = join(place.path, within);
		const explained = await explain(path, {
			as: subject,
			chownTo: `${to.uid}:${to.gid}`,
			...(room.pid !== undefined && { in: room.pid }),
		}).catch((error: UsernsError) => error);
		if (explained instanceof UsernsError) {
			// Not even root may search a directory without an x bit for others whose owner the mount does not map.
			const outside = foreign ? raw : path;
			assert.throws(() => statSync(outside), { code: "EACCES" }, `${explained.message} in ${index}`);
			assert.equal(explained.errnoCode, "EACCES");
			counts.unreachable++;
			return;
		}
		const said = verdicts(explained);
		const { outcomes: got, owner } = world.attempt(room, subject, path, raw, to);
		if (owner !== undefined)
			assert.deepEqual({ uid: explained.uid.stat, gid: explained.gid.stat }, owner, `${index}`);
		for (const kind of ["uid", "gid"] as const)
			checkChain(explained[kind], place, room, kind, file[kind], `${index}`);
		const bad = OPERATIONS.filter(
			(operation) => said[operation] !== "unknown" && said[operation] !== got[operation],
		);
		for (const operation of OPERATIONS) {
			const answer = said[operation];
			counts[answer === "ok" || answer === "unknown" ? answer : "refused"]++;
		}
		if (bad.length > 0) {
			const differences = bad.map((each) => `${each}: ${said[each]}, process: ${got[each]}`);
			const facts = JSON.stringify({ index, place: place.name, room: room.name, subject, to, parent, file });
			wrong.push(`${differences.join("; ")} in ${facts}`);
		}
	} finally {
		for (const [at, flag] of [
			[join(place.raw, name), parent.flag],
			[raw, file.flag],
		] as const) {
			if (flag !== undefined && existsSync(at)) setFlag(at, `-${flag}`);
		}
		remove(join(place.raw, name));
	}
}
