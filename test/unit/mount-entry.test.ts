import assert from "node:assert/strict";
import { descendants, type MountEntry, parseMountinfo } from "../../src/mount/mount-entry.ts";
import { test } from "../support/test.ts";

/*
 * A container controls its own mount table. The tests compare the time for it with the time for a table with as many
 * lines and bytes that contains nothing to decode.
 */

const LINES = 500;
/** Per name in one line: a path of 4 KB of directory names, written with four characters for each. */
const BYTES = 16_000;

function tableOf(name: string, lines: number = LINES): string {
	const line = (i: number) => `${i + 2} ${i + 1} 0:1 /${name} /${name} rw,relatime - tmpfs ${name} rw\n`;
	return `1 0 0:1 / / rw - x x rw\n${Array.from({ length: lines }, (_, i) => line(i)).join("")}`;
}

const plain = tableOf("x".repeat(BYTES));

/** The CPU time of this process so far, in µs: other work on the machine does not change it as it changes the clock. */
function cpuTime(): number {
	const { user, system } = process.cpuUsage();
	return user + system;
}

/** How much more CPU time the work takes for one table than for another: the best of several tries. */
function ratio(work: (table: string) => unknown, table: string, other: string): number {
	let best = Number.POSITIVE_INFINITY;
	const times = { table: best, other: best };
	for (let i = 0; i < 8 && best > 4; i++) {
		for (const [name, text] of [
			["table", table],
			["other", other],
		] as const) {
			const start = cpuTime();
			work(text);
			times[name] = Math.min(times[name], cpuTime() - start);
		}
		best = times.table / times.other;
	}
	return best;
}

const hostile: Record<string, string> = {
	blanks: tableOf("\\040".repeat(BYTES / 4)),
	backslashes: tableOf("\\134".repeat(BYTES / 4)),
	"lone backslashes": tableOf("\\".repeat(BYTES)),
	"two digits": tableOf("\\04".repeat(BYTES / 3)),
	"beyond ASCII": tableOf("\u20ac".repeat(BYTES / 3)),
};

test("finding one mount and those below it takes no longer in a hostile table than in another of its size", () => {
	const look = (table: string) => {
		const entries = parseMountinfo(table);
		const found = entries.find(({ id }) => id === LINES);
		assert.equal(found?.parent, LINES - 1);
		assert.equal(descendants(entries, 1).length, LINES);
	};
	for (const [name, table] of Object.entries(hostile)) {
		const times = ratio(look, table, plain);
		assert.ok(times < 10, `${name}: ${times} times as long`);
	}
});

test("decoding a hostile table takes time in proportion to its bytes", () => {
	const all = (table: string) => {
		for (const { root, mountPoint, source, options } of parseMountinfo(table)) {
			assert.equal(root, mountPoint);
			assert.ok(root === "/" || root.length === source.length + 1);
			assert.equal(options[0], "rw");
		}
	};
	for (const [name, table] of Object.entries(hostile)) {
		const small = tableOf((table.split(" ")[13] as string).slice(1), LINES / 10);
		const times = ratio(all, table, small);
		assert.ok(times < 40, `${name}: ten times as many lines take ${times} times as long`);
	}
});

test("100,000 mounts beside each other, in a chain, and in a reversed chain take little time", () => {
	const most = 100_000;
	const numbered = (line: (i: number) => string) =>
		parseMountinfo(
			`1 0 0:1 / / rw - x x rw\n${Array.from({ length: most }, (_, i) => line(i + 2)).join("\n")}`,
		);
	for (const entries of [
		numbered((i) => `${i} 1 0:1 / /m${i} rw - x x rw`),
		numbered((i) => `${i} ${i - 1} 0:1 / /m rw - x x rw`),
		numbered((i) => `${most + 3 - i} ${most + 2 - i} 0:1 / /m rw - x x rw`),
	]) {
		assert.equal(entries.length, most + 1);
		assert.equal(new Set(descendants(entries, 1).map(({ id }) => id)).size, most);
	}
});

function entry(line: string): MountEntry {
	const [first, ...more] = parseMountinfo(line);
	assert.deepEqual(more, []);
	return first as MountEntry;
}

test("the fields of a line are those of proc_pid_mountinfo(5)", () => {
	const full = entry(
		"36 35 98:0 /a\\040b /mnt\\011\\012\\134 rw,noatime master:1 unbindable - ext3 /dev/\\040 rw,errors=continue",
	);
	assert.equal(full.id, 36);
	assert.equal(full.parent, 35);
	assert.equal(full.device, "98:0");
	assert.equal(full.root, "/a b");
	assert.equal(full.mountPoint, "/mnt\t\n\\");
	assert.deepEqual(full.options, ["rw", "noatime"]);
	assert.equal(full.fsType, "ext3");
	assert.equal(full.source, "/dev/ ");
	assert.equal(full.unbindable, true);
	assert.equal(
		entry("1 1 0:1 / /unbindable rw,unbindable - unbindable unbindable unbindable").unbindable,
		false,
	);
	assert.equal(entry("1 1 0:1 / /a rw - nsfs nsfs rw").root, "/");
	assert.equal(entry("1 1 0:1 / /a rw - tmpfs").source, "");
	assert.equal(entry("1 1 0:1 / /a\\04 rw - a b rw").mountPoint, "/a\\04");
	assert.equal(entry("1 1 0:1 / /\u20ac\\040\\8 rw - a b rw").mountPoint, "/\u20ac \\8");
	assert.deepEqual(parseMountinfo("\nx\n1 x\n12345678901 1 0:1 / / rw - a b rw\n"), []);
});
