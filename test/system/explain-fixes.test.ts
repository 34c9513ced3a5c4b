import assert from "node:assert/strict";
import { chmodSync, chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Access, explain } from "../../src/index.ts";
import { root, sh } from "../support/child.ts";
import { type Outcomes, remove, setFlag, World } from "../support/explain-world.ts";
import { withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

/*
 * The fix of a refusal is executed as root of the host, with a new directory or file for TARGET. The operation must then work for a
 * process with the IDs. No fix may be a command that does not help.
 */

interface Refusal {
	place: string;
	room: string;
	as: readonly [uid: number, gid: number];
	operation: keyof Outcomes;
	/** The owner and mode of the file, and of its directory. */
	file: readonly [uid: number, gid: number, mode: number];
	within?: readonly [uid: number, gid: number, mode: number];
	directory?: true;
	flag?: string;
	directoryFlag?: string;
	fix: RegExp;
}

const [P, M1] = ["ext4 P", "ext4 M1"];
const N_ROOT = { room: "N", as: [0, 0] } as const;
const USER = { room: "host", as: [3001, 3001] } as const;

const REFUSALS: readonly Refusal[] = [
	{ place: P, ...N_ROOT, operation: "read", file: [0, 0, 0o600], fix: /^userns mount / },
	{ place: P, ...N_ROOT, operation: "write", file: [0, 0, 0o444], fix: /^setfacl / },
	{ place: P, ...USER, operation: "read", file: [0, 0, 0o600], fix: /^setfacl / },
	{ place: P, ...USER, operation: "execute", file: [3001, 0, 0o644], fix: /^chmod / },
	{
		place: P,
		...USER,
		operation: "read",
		file: [3001, 0, 0o600],
		within: [0, 0, 0o700],
		fix: /^setfacl .*:x /,
	},
	{ place: P, ...USER, operation: "create", file: [0, 0, 0o755], directory: true, fix: /^setfacl .*:rwx / },
	{ place: P, ...USER, operation: "delete", file: [0, 0, 0o644], fix: /^setfacl .*:rwx / },
	{ place: P, ...USER, operation: "write", file: [0, 0, 0o644], fix: /^setfacl .*:rw / },
	{ place: P, ...USER, operation: "execute", file: [0, 0, 0o666], fix: /^setfacl .*:rwx / },
	{
		place: P,
		...USER,
		operation: "delete",
		file: [0, 0, 0o644],
		within: [0, 0, 0o1777],
		fix: /^chown 3001 /,
	},
	{ place: P, ...USER, operation: "chown", file: [0, 0, 0o644], fix: /^chown 3001:3001 / },
	{ place: M1, ...N_ROOT, operation: "write", file: [70000, 70000, 0o644], fix: /--nested replace/ },
	{
		place: M1,
		...N_ROOT,
		operation: "write",
		file: [70000, 70000, 0o444],
		fix: /--nested replace .* && chmod u\+w/,
	},
	{ place: M1, ...N_ROOT, operation: "chown", file: [70000, 70000, 0o644], fix: /^chown 100000:100000 / },
	{ place: M1, ...N_ROOT, operation: "delete", file: [70000, 70000, 0o644], fix: /^chown 100000:100000 / },
	{ place: M1, ...USER, operation: "create", file: [0, 0, 0o777], directory: true, fix: /--nested replace/ },
	{ place: "ext4 M1-ro", ...N_ROOT, operation: "write", file: [0, 0, 0o644], fix: /remount,bind,rw/ },
	{ place: "ext4 M1-no", ...N_ROOT, operation: "execute", file: [0, 0, 0o755], fix: /remount,bind,exec/ },
	{ place: P, ...USER, operation: "write", file: [3001, 0, 0o644], flag: "i", fix: /^chattr -i / },
	{ place: P, ...USER, operation: "write", file: [3001, 0, 0o644], flag: "a", fix: /^chattr -a / },
	{
		place: P,
		...USER,
		operation: "delete",
		file: [3001, 0, 0o644],
		within: [3001, 0, 0o755],
		directoryFlag: "a",
		fix: /^chattr -a /,
	},
];

const needs = [
	"root",
	"mounts",
	"linux:6.15",
	"loop",
	"fs:ext4",
	...(["cc", "mkfs.ext4", "setfacl", "chattr"] as const).map((tool) => `tool:${tool}` as const),
] as const;

test("the fix of a refusal makes the operation work", { needs, timeout: 120_000 }, async () => {
	await withTmpfs(async (folder) => {
		const world = new World(folder);
		try {
			await world.addFileSystem("ext4", { M1: "0:100000:65536" });
			await world.addRoom("N", "0:100000:65536");
			for (const [index, refusal] of REFUSALS.entries()) await mend(world, refusal, index);
		} finally {
			await world.end();
		}
	});
});

async function mend(world: World, refusal: Refusal, index: number): Promise<void> {
	const { operation, as, file, within = [0, 0, 0o755], directory, flag, directoryFlag, fix } = refusal;
	const [place, room] = [world.places.get(refusal.place), world.rooms.get(refusal.room)];
	assert.ok(place !== undefined && room !== undefined);
	const name = `f${index}`;
	const [base, raw] = [join(place.raw, name), join(place.raw, name, "it")];
	mkdirSync(base);
	if (directory) mkdirSync(raw);
	else writeFileSync(raw, "no program\n");
	for (const [path, [uid, gid, mode]] of [[raw, file] as const, [base, within] as const]) {
		chownSync(path, uid, gid);
		chmodSync(path, mode);
	}
	const flags = [[raw, flag] as const, [base, directoryFlag] as const];
	for (const [path, each] of flags) if (each !== undefined) setFlag(path, `+${each}`);
	try {
		const [uid, gid] = as;
		const subject = { uid, gid, groups: [] };
		const path = join(place.path, name, "it");
		const options = { as: subject, ...(room.pid !== undefined && { in: room.pid }) };
		const { access } = await explain(path, options);
		const verdict = access?.[operation];
		const message = `${JSON.stringify(refusal)}: ${JSON.stringify(verdict)}`;
		assert.equal(verdict?.allowed, false, message);
		assert.match(verdict.fix ?? "", fix, message);
		const target = join(world.folder, `target${index}`);
		if (directory) mkdirSync(target);
		else writeFileSync(target, "");
		const command = join(root, "dist/src/cli/userns.js");
		const script = (verdict.fix ?? "").replace(/^userns /, '"$NODE" "$USERNS" ').replaceAll("TARGET", target);
		sh("env", `NODE=${process.execPath}`, `USERNS=${command}`, "sh", "-c", script);
		const at = script.includes(target) ? target : path;
		const after = (await explain(at, options)).access;
		assert.equal(after?.[operation].allowed, true, `${message}, then ${JSON.stringify(after?.[operation])}`);
		if (at === path) {
			for (const [name, { allowed }] of Object.entries(access ?? {})) {
				const still: boolean | null | undefined = after?.[name as keyof Access].allowed;
				if (allowed === true) assert.equal(still, true, `${message} takes ${name}`);
			}
		}
		const { outcomes } = world.attempt(room, subject, at, at);
		assert.equal(outcomes[operation], "ok", message);
	} finally {
		for (const [path, each] of flags) if (each !== undefined) spawnQuietly(path, each);
		remove(base);
	}
}

/** The fix may have removed the flag, and the attempt the file. */
function spawnQuietly(path: string, flag: string): void {
	try {
		setFlag(path, `-${flag}`);
	} catch {}
}
