import assert from "node:assert/strict";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { packageForAll } from "../support/child.ts";
import { askAs, freshUser } from "../support/ordinary.ts";
import { SLOWER } from "../support/slower.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "ordinary", "tool:getsubids", "tool:setpriv"] as const;

const isLong = process.env.USERNS_LONG === "1";
const FILES = isLong ? 5000 : 150;

/*
 * The oracle is newuidmap(1) or newgidmap(1) itself, with a process of the initial user namespace as its target. The program first checks
 * the ranges, and says "not allowed" for the first that it does not permit. If it permits all, it writes the map, which the kernel
 * refuses because the target has one. So one target serves for all files, and no namespace is made.
 *
 * Not generated, because this package is deliberately stricter there than some versions of shadow: "0:0", and a negative count beside a
 * first ID that is smaller, which shadow 4.13 takes for every ID.
 */
const SCRIPT = `
import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createInterface } from "node:readline";

const { readSubidLines } = await import(LINES);
const { parseGetsubids, subordinateRanges } = await import(RANGES);
const { disjoint } = await import(DISJOINT);
const uid = Number(process.env.USERNS_TEST_UID);
const user = { name: "userns-tester", uid, gid: uid };

// mulberry32
let state = SEED;
const random = (below) => {
	state = (state + 0x6d2b79f5) | 0;
	let t = Math.imul(state ^ (state >>> 15), 1 | state);
	t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
	return ((t ^ (t >>> 14)) >>> 0) % below;
};
const pick = (list) => list[random(list.length)];

const OWNERS = ["userns-tester", "userns-tester", "userns-tester", String(uid), "userns-alias", "other", "containers",
	" userns-tester", "userns-tester ", "", "#userns-tester", "+userns-tester", "-", "0" + uid, "userns-teste", String(uid + 1), "userns-tester\\r"];
const number = () => pick([
	() => String(random(30)), () => String(random(30)), () => String(100000 + random(40)), () => String(100000 + random(40)),
	() => String(4294967280 + random(30)), () => "0x" + random(64).toString(16), () => "0X1F", () => "0" + random(64).toString(8), () => "08", () => "0x",
	() => "+" + random(30), () => "+ 5", () => " " + random(30), () => "\\t" + random(30), () => random(30) + " ", () => random(30) + "\\r", () => "",
	() => "18446744073709551615", () => "18446744073709551616", () => "18446744073709551586", () => "9".repeat(30), () => "x", () => "1-9", () => "1e3", () => "1.5", () => "-0",
	() => "0".repeat(20) + random(8), () => "\\v7", () => "\\f7", () => "7\\0", () => "４",
])();
const first = () => random(12) === 0 ? "-" + (1 + random(99)) : number();
const line = () => pick([
	() => [pick(OWNERS), first(), number()].join(":"), () => [pick(OWNERS), first(), number()].join(":"), () => [pick(OWNERS), first(), number()].join(":"),
	() => [pick(OWNERS), first(), pick(["1", "2", "5", "0", "65536"])].join(":"),
	() => ["userns-tester", 100000 + random(40), 1 + random(10)].join(":"),
	() => ["userns-tester", 100000 + random(40), "-" + (1 + random(99))].join(":"),
	() => [pick(OWNERS), first(), number(), pick(["", "x", "5"])].join(":"),
	() => [pick(OWNERS), first()].join(":"), () => pick(OWNERS), () => "", () => " ", () => "# text", () => ["userns-tester", "", first(), number()].join(":"),
	() => "userns-tester:" + " ".repeat(1004 + random(8)) + "5:5",
	() => "userns-tester:5:5:" + "é".repeat(500 + random(8)),
])();
const isZero = (text) => /^[ \\t\\v\\f\\r]*[+-]?(0|0x0+|0+)$/i.test(text);
const file = () => {
	const lines = [];
	const count = random(7);
	while (lines.length < count) {
		const next = line();
		const [, a = "", b = ""] = next.split(":");
		if (isZero(a) && isZero(b)) continue;
		lines.push(next);
		if (random(9) === 0) lines.push(next);
	}
	return lines.join("\\n") + (random(4) === 0 ? "" : "\\n");
};

// One shell of the user calls the programs: "uid 0 5 1" is answered by what newuidmap says, and a line with a dot.
const shell = spawn("/usr/bin/setpriv", ["--reuid=" + uid, "--regid=" + uid, "--clear-groups", "--", "sh", "-c",
	"while read -r kind ranges; do new" + "$" + "{kind}map $$ $ranges 2>&1; echo .; done"], { stdio: ["pipe", "pipe", "inherit"] });
const answers = createInterface({ input: shell.stdout })[Symbol.asyncIterator]();
const permits = async (kind, ranges) => {
	shell.stdin.write(kind + " " + ranges.map(({ first, size }) => "0 " + first + " " + size).join(" ") + "\\n");
	let said = "";
	for (;;) {
		const { value, done } = await answers.next();
		if (done) throw new Error("the shell has ended");
		if (value === ".") break;
		said += value;
	}
	// It says nothing if it cannot read the file.
	if (said === "" || /not allowed/.test(said)) return false;
	// newgidmap denies setgroups first if it permits only the own gid.
	if (/write to .id_map failed|setgroups/.test(said)) return true;
	throw new Error("new" + kind + "map " + JSON.stringify(ranges) + " says: " + said);
};
const merged = (ranges) => {
	const list = [];
	for (const { first, size } of disjoint(ranges).sort((a, b) => a.first - b.first)) {
		const last = list.at(-1);
		if (last !== undefined && last.first + last.size === first) last.size += size;
		else list.push({ first, size });
	}
	return list;
};

const disagreements = [];
let calls = 0;
let granted = 0;
const begin = performance.now();
for (let i = 0; i < FILES; i++) {
	const kind = i % 2 === 0 ? "uid" : "gid";
	const text = file();
	const fault = (what) => disagreements.push(kind + " " + what + ": " + JSON.stringify(text));
	writeFileSync("/etc/sub" + kind, text);
	const ranges = merged(subordinateRanges(kind, user));
	const has = (id) => id === uid || ranges.some(({ first, size }) => id >= first && id < first + size);
	if (ranges.length > 0) {
		granted++;
		calls++;
		if (!(await permits(kind, ranges))) fault("refuses " + JSON.stringify(ranges));
	}
	// The IDs around every number of the file and of the ranges, of which newuidmap must refuse those that are not in a range.
	const ids = new Set([0, 5, 7, 100000 + random(40), random(30)]);
	for (const { first, size } of ranges) ids.add(first - 1).add(first + size);
	for (const line of readSubidLines(text)) if (line.flaw !== undefined) for (const n of line.text.match(/\\d{1,10}/g) ?? []) ids.add(Number(n));
	for (const id of ids) {
		if (id < 0 || id > 4294967294 || has(id)) continue;
		calls++;
		if (await permits(kind, [{ first: id, size: 1 }])) fault("permits " + id);
	}
	if (kind === "uid") {
		// getsubids compares names and uids only.
		const own = readSubidLines(text).filter(({ owner }) => owner === user.name || owner === String(uid));
		const wanted = merged(own.flatMap(({ range }) => range ?? []));
		const { stdout } = spawnSync("getsubids", [user.name], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
		const printed = merged(parseGetsubids(stdout));
		if (JSON.stringify(printed) !== JSON.stringify(wanted)) fault("getsubids prints " + JSON.stringify(printed) + ", not " + JSON.stringify(wanted));
	}
}
const seconds = (performance.now() - begin) / 1000;
shell.stdin.end();
console.log(JSON.stringify({ disagreements, calls, granted, seconds }));`;

interface Result {
	disagreements: string[];
	calls: number;
	granted: number;
	seconds: number;
}

test("for random files, the ranges are those that newuidmap, newgidmap and getsubids permit", {
	needs,
	timeout: 600_000 * SLOWER,
}, (t) => {
	const seed = Number(process.env.USERNS_SEED ?? (isLong ? Date.now() % 2 ** 31 : 1));
	const url = (file: string) => JSON.stringify(pathToFileURL(join(packageForAll(), "dist/src", file)));
	const constants = Object.entries({
		LINES: url("mapping/subid-lines.js"),
		RANGES: url("subid/ranges.js"),
		DISJOINT: url("mapping/rootless.js"),
		SEED: String(seed),
		FILES: String(FILES),
	}).map(([name, value]) => `const ${name} = ${value};`);
	const before = `echo "userns-alias:x:$user:$user::/:/bin/sh" >> /etc/passwd; echo "other:x:777:777::/:/bin/sh" >> /etc/passwd; echo "subid: files" > /etc/nsswitch.conf`;
	const user = freshUser({ asRoot: true, before });
	const options = { ...user.options, timeout: 600_000 * SLOWER };
	const result = askAs<Result>({ ...user, options }, `${constants.join("\n")}\n${SCRIPT}`);
	t.diagnostic(
		`${FILES} files, ${result.calls} calls, ${result.granted} with ranges, ${result.seconds.toFixed(1)} s`,
	);
	assert.deepEqual(result.disagreements, [], `seed ${seed}`);
	// The control: files of both kinds were made.
	assert.ok(
		result.granted > FILES / 4 && result.granted < FILES,
		`${result.granted} of ${FILES} have ranges`,
	);
});
