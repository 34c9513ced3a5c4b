import { descendants, type MountEntry, parseMountinfo } from "../../../src/mount/mountinfo.ts";
import { visibleBelow } from "../../../src/mount/source-tree.ts";
import { mappingOf, parseStatmount } from "../../../src/mount/statmount.ts";
import { about, attempt, must, skeleton, type Target, toText } from "../engine/target.ts";
import { checkMapping } from "./mapping.ts";

/** 512 bytes of `struct statmount` with these fields, and texts behind them. */
function statmount(texts: string, uid: [number, number], gid: [number, number], mask = 0x6002n): Uint8Array {
	const bytes = Buffer.alloc(512 + texts.length);
	bytes.writeUInt32LE(bytes.length, 0);
	bytes.writeBigUInt64LE(mask, 8);
	bytes.writeBigUInt64LE(2147488208n, 40);
	bytes.writeUInt32LE(63, 56);
	bytes.writeBigUInt64LE(0x100000n, 64);
	[...uid, ...gid].forEach((number, i) => {
		bytes.writeUInt32LE(number, 152 + 4 * i);
	});
	bytes.write(texts, 512, "latin1");
	return bytes;
}

const EXTENT = "0 100000 65536\0";

/** A result of statmount(2). Reading at a wrong offset would read foreign memory. */
const statmounts: Target = {
	name: "statmount",
	words: [
		EXTENT,
		"0 4294967295 1\0",
		"\x02\x60\0\0\0\0\0\0",
		"\x01\0\0\0\0\0\0\0",
		"\xff\xff\xff\xff",
		"\x54\x01\0\0",
	].map((word) => Buffer.from(word, "latin1")),
	seeds: [
		statmount(EXTENT, [1, 0], [1, 0]),
		statmount(`\0${EXTENT}70000 5 1\0`, [2, 1], [1, 16]),
		statmount("\0", [0, 0], [0, 0]),
		statmount("", [0, 0], [0, 0], 2n),
		statmount("5 5 5\0", [1, 0], [0, 0], 0x2002n),
	],
	run(bytes) {
		const buffer = Uint8Array.from(bytes).buffer;
		const parsed = attempt(["ERR_USERNS_READ_MOUNTS"], () => parseStatmount(buffer));
		if ("error" in parsed) return skeleton(parsed.error);
		const mount = parsed.value;
		// Every map is a range of the bytes behind the structure, with newlines in place of its NULs.
		const behind = Buffer.from(bytes.subarray(512)).toString("latin1").replaceAll("\0", "\n");
		for (const map of [mount.uidMap, mount.gidMap]) {
			must(map === undefined || behind.includes(map), () => `the map ${JSON.stringify(map)}`);
		}
		const mapping = mappingOf(mount);
		if (typeof mapping === "string") {
			must(mapping.startsWith("map unknown"), () => mapping);
			return skeleton(new Error(mapping));
		}
		checkMapping(mapping, false);
		return `${mount.idmapped} ${about(mapping.uidMappings.length)} ${about(mapping.gidMappings.length)}`;
	},
	growing: {
		texts: (n) => statmount("0 0 1\0".repeat(n), [340, 0], [340, 0]),
		"no NUL": (n) => statmount("1".repeat(n), [340, 0], [1, 0]),
	},
};

const LINE = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue\n";

/** The rules of proc_pid_mountinfo(5) in another way: backwards, character by character. */
function decoded(text: string): string {
	let result = "";
	for (let i = 0; i < text.length; i++) {
		const digits = text.slice(i + 1, i + 4);
		if (text[i] === "\\" && digits.length === 3 && [...digits].every((each) => each >= "0" && each <= "7")) {
			result += String.fromCharCode(Number(digits[0]) * 64 + Number(digits[1]) * 8 + Number(digits[2]));
			i += 3;
		} else result += text[i];
	}
	return result;
}

function checkEntry(entry: MountEntry, line: string): void {
	const fields = line.split(" ");
	must(
		entry.mountPoint === decoded(fields[4] ?? ""),
		() => `the mount point ${JSON.stringify(entry.mountPoint)}`,
	);
	must(entry.root === decoded(fields[3] ?? ""), () => `the root ${JSON.stringify(entry.root)}`);
	for (const value of [entry.device, entry.fsType, entry.source, ...entry.options]) {
		must(typeof value === "string", () => `${typeof value} instead of a text`);
	}
	const dash = fields.indexOf("-", 6);
	if (dash < 0) return;
	must(entry.fsType === decoded(fields[dash + 1] ?? ""), () => `the type ${entry.fsType}`);
	must(entry.unbindable === fields.slice(6, dash).includes("unbindable"), () => "unbindable");
}

/** A mount table, which a container controls: parsed, and built into a tree. */
const mountinfo: Target = {
	name: "mountinfo",
	words: [
		LINE,
		" - ",
		" unbindable",
		" shared:1",
		",idmapped",
		"\\040",
		"\\134",
		"\\012",
		"//deleted",
		"/",
		" ",
		"\n",
		"36 36 ",
	],
	seeds: [
		LINE,
		"1 1 0:1 / / rw - rootfs rootfs rw\n2 1 0:2 / /a rw,idmapped shared:2 - tmpfs tmpfs rw\n3 2 0:3 / /a/b\\040c rw unbindable - ext4 /dev/x rw\n4 3 0:4 / /a/b\\040c/d rw - nsfs nsfs rw\n",
		"3 2 0:3 / /a/b rw - x x rw\n2 1 0:2 / /a rw - x x rw\n1 0 0:1 / / rw - x x rw\n",
		"1 0 0:1 / / rw - x x rw\n2 1 0:2 / /a rw - x x rw\n3 2 0:2 / /a rw - x x rw\n4 3 0:2 / /a//deleted rw - x x rw\n",
	],
	run(bytes) {
		const text = toText(bytes);
		const entries = parseMountinfo(text);
		const lines = text.split("\n").filter((line) => {
			const [id, parent, rest] = line.split(" ", 3);
			return [id, parent].every((each) => each && each.length < 11 && !/\D/.test(each)) && rest !== undefined;
		});
		must(entries.length === lines.length, () => `${entries.length} entries of ${lines.length} lines`);
		entries.forEach((entry, i) => {
			checkEntry(entry, lines[i] as string);
		});
		const [own] = entries;
		if (own === undefined) return "none";
		const below = descendants(entries, own.id);
		const ids = new Set(below.map(({ id }) => id));
		must(ids.size === below.length && !ids.has(own.id), () => "a mount twice, or below itself");
		for (const entry of below)
			must(entry.parent === own.id || ids.has(entry.parent), () => `an orphan ${entry.id}`);
		for (const entry of entries) {
			const belongs = (entry.parent === own.id || ids.has(entry.parent)) && entry.id !== own.id;
			must(!belongs || ids.has(entry.id), () => `${entry.id} was forgotten`);
		}
		const start = own.mountPoint === "/" ? "" : own.mountPoint;
		const visible = visibleBelow(entries, own, start);
		for (const { path, mountId, mountPoint } of visible) {
			// The kernel writes no empty name.
			must(
				mountPoint.includes("//") || (path !== "" && path[0] !== "/"),
				() => `the path ${JSON.stringify(path)}`,
			);
			must(ids.has(mountId), () => "a path that is not below");
		}
		return `${about(below.length)} ${about(visible.length)} ${below.some(({ unbindable }) => unbindable)}`;
	},
	growing: {
		siblings: (n) => `1 0 0:1 / / rw - x x rw\n${numbered(n, (i) => `${i} 1 0:1 / /m${i} rw - x x rw`)}`,
		chain: (n) => `1 0 0:1 / / rw - x x rw\n${numbered(n, (i) => `${i} ${i - 1} 0:1 / /m${i} rw - x x rw`)}`,
		// Each mount comes before the mount that it is on, as after moves.
		"chain upside down": (n) =>
			`1 0 0:1 / / rw - x x rw\n${numbered(n, (i) => `${n + 3 - i} ${n + 2 - i} 0:1 / /m${i} rw - x x rw`)}`,
		stacked: (n) => `1 0 0:1 / / rw - x x rw\n${numbered(n, (i) => `${i} ${i - 1} 0:1 / /m rw - x x rw`)}`,
		unbindable: (n) =>
			`1 0 0:1 / / rw - x x rw\n${numbered(n, (i) => `${i} ${i - 1} 0:1 / /m${i} rw unbindable - x x rw`)}`,
		deep: (n) =>
			`1 0 0:1 / / rw - x x rw\n${numbered(n, (i) => `${i} ${i - 1} 0:1 / ${"/m".repeat(i % 50)} rw - x x rw`)}`,
		path: (n) => `1 0 0:1 / / rw - x x rw\n2 1 0:1 / ${"/m".repeat(20 * n)} rw - x x rw\n`,
		escapes: (n) => `1 0 0:1 / /${"\\04".repeat(n)} rw - x x rw\n`,
		fields: (n) => `1 0 0:1 / / rw${" x".repeat(n)}\n`,
	},
};

/** The lines of the mounts 2 … n + 1. */
function numbered(n: number, line: (i: number) => string): string {
	return `${Array.from({ length: n }, (_, i) => line(i + 2)).join("\n")}\n`;
}

export const mountTargets: readonly Target[] = [statmounts, mountinfo];
