import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Mapping } from "../../src/index.ts";
import { root, userns } from "../support/child.ts";
import { test } from "../support/test.ts";

const PUNCHED = "0:100000:1000,1000:1000:1,1001:101001:64535";

test("map prints results as text", () => {
	const cases: [string[], string][] = [
		[["convert", "--to", "incus", "0:100000:65536"], "both 100000-165535 0-65535"],
		[["convert", "--from", "incus", "both 100000-165535 0-65535"], "0:100000:65536"],
		[
			["convert", "--from", "podman", "--parent", "0:1000:1,1:100000:65536", "--rootless", "+5:@1000:1"],
			"0:1:5,5:0:1,6:6:65531",
		],
		[["convert", "--from", "podman-idmap", "--container", "0:100000:10", "idmap"], "0:100000:10"],
		[["convert", "--from", "subid", "--user", "1000", "1000:100000:5\nother:7:7"], "0:100000:5"],
		[["convert", "--to", "subid", "--user", "alpha", "0:100000:5"], "alpha:100000:5"],
		[["convert", "--to", "proc", "u:0:1:1,g:0:2:1"], "0 1 1\n\n0 2 1"],
		[["convert", "lxc.idmap: u 0 100000 5\nlxc.idmap: g 0 100000 5"], "0:100000:5"],
		[["convert", "--skip-other-lines", "arch: amd64\nlxc.idmap: u 0 1 1"], "u:0:1:1"],
		[["convert", "b:root:5:1"], "0:5:1"],
		[["invert", "0:100000:10"], "100000:0:10"],
		[["compose", "0:10:5", "10:1000:3"], "0:1000:3"],
		[["intersect", "0:10:5", "3:13:9"], "3:13:2"],
		[["subtract", "0:10:5", "3:13:9"], "0:10:3"],
		[["union", "0:10:5", "5:15:5"], "0:10:10"],
		[["punch", "0:10:5", "2", "99"], "0:10:2,2:99:1,3:13:2"],
		[["punch", "--kind", "gid", "0:10:3", "7", "11"], "u:0:10:3,g:0:10:1,g:2:12:1,g:7:11:1"],
		[["translate", "--uid", "7", "0:100000:10"], "100007"],
		[["translate", "--gid", "100007", "--reverse", "0:100000:10"], "7"],
	];
	for (const [args, expected] of cases) {
		const { status, stdout, stderr } = userns("map", ...args);
		assert.equal(stderr, "");
		assert.equal(status, 0);
		assert.equal(stdout, `${expected}\n`, args.join(" "));
	}
});

/** Runs `userns map` with that text on standard input. */
function piped(input: string, ...args: string[]): { status: number | null; stdout: string; stderr: string } {
	const main = join(root, "dist/src/cli/userns.js");
	return spawnSync(process.execPath, [main, "map", ...args, "-"], { input, encoding: "utf8" });
}

test("a whole file on standard input is read with --skip-other-lines, which the hint names; exec names the command", () => {
	const files: [text: string, id: string][] = [
		["[Container]\nImage=x\nUIDMap=5000:0:1\nGIDMap=5000:0:1\n", "5000:0:1"],
		["arch: amd64\nlxc.idmap: u 0 100000 65536\nlxc.idmap: g 0 100000 65536\n", "0:100000:65536"],
	];
	for (const [text, id] of files) {
		const { status, stderr } = piped(text, "convert");
		assert.equal(status, 2);
		const [, option = ""] = /^hint: .* set (--\S+)\.$/m.exec(stderr) ?? [];
		assert.equal(piped(text, "convert", option).stdout, `${id}\n`, stderr);
		const hint =
			/^hint: .* "userns map (convert --skip-other-lines)" converts a file with other (lines|settings)\.$/m;
		for (const command of [["exec"], ["create", "--at", "/x"], ["mount", "/a", "/b"]]) {
			const [name = "", ...rest] = command;
			const { stderr: words } = userns(name, "--map", text, ...rest, ...(name === "exec" ? ["true"] : []));
			const [, converting = ""] = hint.exec(words) ?? [];
			assert.equal(piped(text, ...converting.split(" ")).stdout, `${id}\n`, words);
		}
	}
});

test("a carriage return at the end of standard input ends the line, except in a line of /etc/subuid", () => {
	assert.equal(piped("0:1:1\r\n", "convert").stdout, "0:1:1\n");
	const subid = (text: string) => piped(text, "convert", "--from", "subid", "--user", "dev");
	assert.equal(subid("dev:100000:65536\n").stdout, "0:100000:65536\n");
	assert.equal(subid("dev:100000:65536").stdout, "0:100000:65536\n");
	assert.match(subid("dev:100000:65536\r\n").stderr, /the line has a carriage return after the count/);
	assert.match(subid("other:100000:65536\n").stderr, /^userns: subid text: no line is of the user "dev"$/m);
});

test("map prints JSON, reads standard input, and reads the maps of a process", () => {
	const converted = JSON.parse(userns("map", "convert", "--json", "--to", "lxc", "0:1:1").stdout);
	assert.equal(converted.text, "b:0:1:1");
	assert.deepEqual(converted.mapping, Mapping.from("0:1:1").toJSON());
	assert.deepEqual(JSON.parse(userns("map", "translate", "--json", "--uid", "5", "0:1:1").stdout), {
		kind: "uid",
		id: 5,
		reverse: false,
		result: null,
	});
	const checked = piped("0 100000 65536\n", "check", "--json").stdout;
	assert.equal(JSON.parse(checked).valid, true);
	assert.equal(JSON.parse(checked).text, "0:100000:65536");
	if (process.platform !== "linux") return;
	const own = Mapping.fromProc(
		readFileSync("/proc/self/uid_map", "utf8"),
		readFileSync("/proc/self/gid_map", "utf8"),
	);
	assert.equal(userns("map", "convert", `/proc/${process.pid}`).stdout, `${own}\n`);
	const gone = userns("map", "check", "/proc/2147483647");
	assert.equal(gone.status, 2);
	assert.match(gone.stderr, /^userns: cannot read the maps of process 2147483647: .*\nhint: /);
	// As "userns show PID".
	assert.equal(userns("map", "convert", `${process.pid}`).stdout, `${own}\n`);
	assert.equal(userns("map", "draw", `${process.pid}`).stdout, userns("map", "draw", `${own}`).stdout);
	const none = userns("map", "convert", "2147483647");
	assert.equal(none.status, 1);
	assert.match(none.stderr, /^userns: cannot read the maps of process 2147483647: /);
});

test("the path of a file in the place of a mapping is an error, and its hint works", () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-map-"));
	try {
		const file = join(folder, "a map");
		writeFileSync(file, "0 100000 65536\n");
		for (const command of ["convert", "check"]) {
			const { stderr, status } = userns("map", command, file);
			assert.notEqual(status, 0);
			assert.match(stderr, /a map" is a file, not the text of a mapping\nhint: .* - < FILE/);
		}
		assert.equal(piped("0 100000 65536\n", "convert").stdout, "0:100000:65536\n");
		// A path that cannot be looked up is a text like any other.
		for (const path of [`${file}/below`, `/${"a".repeat(5000)}`, "/proc/self/ns/user"]) {
			assert.match(userns("map", "convert", path).stderr, /the text is the path of a user namespace/);
		}
	} finally {
		rmSync(folder, { recursive: true });
	}
});

test("map check exits with 0 for a mapping, 1 for an invalid one, and 2 if that is unknown", () => {
	assert.equal(userns("map", "check", "0:1:1").status, 0);
	const invalid: [string, RegExp][] = [
		["0:1:1,0:5:1", /overlap/],
		["0:5:4,2:90:9", /^userns: colon text: uidMappings: the extents 0:5:4 and 2:90:9 overlap/],
		["0:1000:0", /^userns: colon text, column 1 \(extent 1: 0:1000:0\): size must be at least 1\n/],
		["0:1", /no syntax fits.*\nhint: Name the syntax with --from if the text is meant so: podman\.\n/],
		["hello", /no syntax fits.*\nhint: Name the syntax with --from to see the mistake: colon, /],
	];
	for (const [text, message] of invalid) {
		const { status, stdout, stderr } = userns("map", "check", text);
		assert.deepEqual({ status, stdout }, { status: 1, stdout: "" });
		assert.match(stderr, message);
		const json = userns("map", "check", "--json", text);
		assert.equal(json.status, 1);
		assert.equal(JSON.parse(json.stdout).error.code, "ERR_USERNS_INVALID_MAPPING");
	}
	for (const args of [["check"], ["check", "--from", "nonsense", "0:1:1"], ["check", "2147483647"]])
		assert.equal(userns("map", ...args).status, 2, args.join(" "));
});

test("map translate exits with 1 for an ID that is not mapped, and with 2 for wrong usage", () => {
	assert.equal(userns("map", "translate", "--uid", "5", "0:1:1").status, 1);
	assert.equal(userns("map", "translate", "--uid", "5", "2147483647").status, 2);
	assert.equal(userns("map", "translate", "--uid", "5", "0:1").status, 2);
	const wrong: [string[], RegExp][] = [
		[["compose", "0:1:1,0:5:1", "0:1:1"], /overlap/],
		[["convert", "u:no-such-user:0:1"], /^userns: colon text, column 3 .*there is no user "no-such-user"\n/],
		[["convert", "lxc.idmap: u 0 1 1\narch: amd64"], /hint: .*, set --skip-other-lines\.\n/],
		[["convert", "--from", "nonsense", "0:1:1"], /Allowed choices are colon, proc/],
		[["translate", "0:1:1"], /one of --uid and --gid/],
		[["translate", "--uid", "1", "--gid", "1", "0:1:1"], /one of --uid and --gid/],
		[["translate", "--uid", "-1", "0:1:1"], /whole number/],
		[["union", "0:1:1", "0:2:1"], /conflict/],
		[["convert", "--to", "oci", "u:0:1:1"], /cannot express/],
		[["nonsense"], /unknown command/],
	];
	for (const [args, message] of wrong) {
		const { status, stdout, stderr } = userns("map", ...args);
		assert.equal(status, 2, args.join(" "));
		assert.equal(stdout, "");
		assert.match(stderr, message);
		assert.match(stderr, /^userns: /);
	}
});

test("map draw puts every range into its column, marks gaps, and fits 80 columns", () => {
	const { stdout } = userns("map", "draw", PUNCHED);
	const rows = stdout.split("\n");
	for (const row of rows) assert.ok(row.length <= 80, row);
	for (const inside of ["0 ┐", "999 ┘", "1000 ■", "1001 ┐", "65535 ┘"])
		assert.ok(
			rows.some((row) => row.trimStart().startsWith(inside)),
			inside,
		);
	for (const outside of [
		"■ 1000",
		"⋮ 98999 not mapped",
		"┌ 100000",
		"└ 100999",
		"⋮ 1 not mapped",
		"┌ 101001",
		"└ 165535",
	]) {
		assert.ok(
			rows.some((row) => row.endsWith(outside)),
			outside,
		);
	}
	// The line of 1000 begins at the single ID inside and ends at the single ID outside.
	assert.ok(rows.some((row) => /1000 ■─+/.test(row)) && rows.some((row) => /─+■ 1000$/.test(row)));
});

/** Follows a line through the drawing, from its left end to its right one. */
function follow(rows: readonly string[], start: number): number {
	let [y, x, dx, dy] = [start, 21, 1, 0];
	for (let steps = 0; steps < 5000; steps++) {
		const sign = rows[y]?.[x] ?? " ";
		if (x === 21 + 36) return y;
		if (sign === "┐") [dx, dy] = [0, 1];
		else if (sign === "┘") [dx, dy] = dx === 1 ? [0, -1] : [1, 0];
		else if (sign === "└" || sign === "┌") [dx, dy] = [1, 0];
		else assert.match(sign, /[─│┼]/, `a line breaks off in row ${y}, column ${x}`);
		x += dx;
		y += dy;
	}
	return -1;
}

test("map draw: each line leads from a range to the one that it is mapped to, however the lines cross", () => {
	const maps = [
		PUNCHED,
		"0:9:1,1:8:1,2:7:1",
		Array.from({ length: 34 }, (_, i) => `${i * 10}:${((i * 7) % 34) * 20 + 1000}:1`).join(","),
	];
	for (const map of maps) {
		const rows = userns("map", "draw", map).stdout.split("\n");
		const mapping = Mapping.from(map);
		for (const { containerID, hostID, size } of mapping.uidMappings) {
			const first = rows.findIndex(
				(row) => row.slice(0, 19).trim() === `${containerID}` && /[■┐]/.test(row[20] ?? ""),
			);
			const row = size === 1 ? first : rows.findIndex((text, i) => i > first && text[20] === "├");
			const end = follow(rows, row);
			assert.match(rows[end]?.[57] ?? "", /[■┤]/);
			const top = size === 1 ? end : rows.findLastIndex((text, i) => i < end && text[57] === "┌");
			assert.equal(rows[top]?.slice(59).trim(), `${hostID}`, `${map}: ${containerID}`);
		}
	}
});

test("map draw --svg prints well-formed XML, with the ranges as text and colours for light and dark", () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-svg-"));
	const file = join(folder, "map.svg");
	const { status, stdout } = userns("map", "draw", "--svg", file, PUNCHED);
	assert.equal(status, 0);
	assert.match(stdout, /^written to /);
	const svg = readFileSync(file, "utf8");
	rmSync(folder, { recursive: true });
	const labels = [...svg.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, text]) => text);
	for (const label of ["0–999", "1000", "1001–65535", "100000–100999", "101001–165535", "98999 not mapped"])
		assert.ok(labels.includes(label), label);
	assert.equal(labels.filter((label) => label === "1000").length, 2);
	assert.match(svg, /prefers-color-scheme: dark/);
	const open = [...svg.matchAll(/<([a-z]+)(?:\s[^>]*[^/>])?>/g)].map(([, name]) => name).sort();
	const close = [...svg.matchAll(/<\/([a-z]+)>/g)].map(([, name]) => name).sort();
	assert.deepEqual(open, close);
	// A single ID beside 64535 of them is still as high as its label.
	const heights = [...svg.matchAll(/<rect x=[^>]*height="([\d.]+)" rx/g)].map(([, height]) => Number(height));
	assert.ok(heights.every((height) => height >= 22) && Math.max(...heights) > 60);
});
