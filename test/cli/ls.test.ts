import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { drawTree } from "../../src/cli/ls-svg.ts";
import { branches, shortMap } from "../../src/cli/ls-tree.ts";
import { table } from "../../src/cli/output.ts";
import { type ListedNamespace, Mapping } from "../../src/index.ts";
import { root, sh, userns } from "../support/child.ts";
import { type Held, HOLDING, holding } from "../support/holding.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { olderThan } from "../support/needs.ts";
import { becomes } from "../support/programs.ts";
import { test } from "../support/test.ts";

const COMMAND = join(root, "dist/src/cli/userns.js");
const OWN = statSync("/proc/self/ns/user").ino;

function listed(
	inode: number,
	parentInode: number | undefined,
	more: Partial<ListedNamespace> = {},
): ListedNamespace {
	const mapping = Mapping.from("0:3000000:65536,70000:5:1");
	const base = { id: BigInt(inode), ownerUid: 7, setgroups: "deny" as const, mapping };
	return { ...base, inode, parentInode, processes: [], holders: [], mounts: [], ...more };
}

test("the tree has each namespace below its parent, and one without a listed parent at the left", () => {
	const all = [
		listed(5, 4),
		listed(1, undefined),
		listed(2, 1),
		listed(4, 1),
		listed(3, 2),
		listed(9, 8),
		listed(6, 4),
	];
	assert.deepEqual(
		branches(all).map(({ signs, namespace }) => `${signs}${namespace.inode}`),
		["1", "├─2", "│ └─3", "└─4", "  ├─5", "  └─6", "9"],
	);
	assert.deepEqual(branches([]), []);
});

test("a map is shown by its first extent and the number of others", () => {
	const short = (text: string) => shortMap({ mapping: Mapping.from(text) });
	assert.equal(short("0:3000000:65536"), "0:3000000:65536");
	assert.equal(short("0:3000000:65536,70000:5:1"), "0:3000000:65536 +1");
	assert.equal(short("u:0:5:1,g:0:6:1"), "u:0:5:1 +1");
	assert.equal(short("0:0:4294967295"), "all IDs");
	assert.equal(shortMap({ mapping: Mapping.fromProc("", "") }), "none");
	assert.equal(shortMap({ mapping: undefined, unknown: "why" }), "unknown");
});

/** The columns of a terminal by the width of each sign, written down here: two for the signs in `wide`, none for U+0301. */
function columns(line: string, wide: string): number {
	return [...line].reduce((sum, sign) => sum + (wide.includes(sign) ? 2 : sign === "\u0301" ? 0 : 1), 0);
}

test("a table is aligned and fits 80 columns for names of every script", () => {
	const wide = "漢字仮名한글ｗ🦊";
	const names = [
		"a",
		wide.repeat(9),
		"e\u0301".repeat(60),
		"plain ".repeat(30),
		"\x1b[31m".repeat(20),
		"𝔘".repeat(70),
	];
	const rows = names.flatMap((first) => names.map((last) => [first, "mid", last]));
	const lines = table(rows, 80, [2, 0]);
	for (const line of lines) assert.ok(columns(line, wide) <= 80, `${columns(line, wide)}: ${line}`);
	assert.equal(new Set(lines.map((line) => columns(line.slice(0, line.indexOf("mid")), wide))).size, 1);
	assert.deepEqual(
		table([
			["漢字", "b"],
			["abc", "d"],
		]),
		["漢字  b", "abc   d"],
	);
	const long = "abcdefghijklmnopqrstuvwxyz0123456789";
	assert.deepEqual(table([[long, "b"]], 24), ["abcdefghij…0123456789  b"]);
	assert.deepEqual(table([["漢".repeat(20), "b"]], 24), [`${"漢".repeat(5)}…${"漢".repeat(5)}  b`]);
});

/** A golden picture: this tree has a name that SVG must escape, and one that is too long. */
test("ls --svg draws the tree, with every name escaped", () => {
	const tree = branches([
		listed(0xeffffffd, undefined, { processes: [2147483646, 2147483647] }),
		listed(4026532001, 0xeffffffd, { holders: [{ kind: "mount", pid: 1, path: "/run/<&>\x1b" }] }),
		listed(4026532002, 4026532001, {
			holders: [{ kind: "mount", pid: 1, path: `/run/${"long".repeat(40)}` }],
			mounts: [{ pid: 1, path: "/mnt" }],
		}),
	]);
	const drawing = drawTree(tree, ["Processes & others."]);
	const texts = [...drawing.matchAll(/<text[^>]*>([^<]*)<\/text>/g)].map(([, text]) => text);
	assert.deepEqual(texts.slice(0, 6), [
		"3 user namespaces",
		"4026531837 · initial user namespace",
		"owner 7 · 2 processes · held by process 2147483646 +1",
		"4026532001 · map 0:3000000:65536 +1",
		"owner 7 · 0 processes · held by mount /run/&lt;&amp;>\\u{1b}",
		"4026532002 · map 0:3000000:65536 +1",
	]);
	assert.match(
		texts[6] ?? "",
		/^owner 7 · 0 processes · 1 ID-mapped mount · held by mount \/run\/longlong.*…$/,
	);
	assert.equal(texts[7], "not seen: Processes &amp; others.");
	// Each bar is below and to the right of its parent's.
	const bars = [...drawing.matchAll(/<rect x="(\d+)" y="(\d+)" width="14"/g)].map(([, x, y]) => [
		Number(x),
		Number(y),
	]);
	assert.deepEqual(bars, [
		[24, 56],
		[58, 108],
		[92, 160],
	]);
	assert.equal(drawing.match(/class="line" d="/g)?.length, 2);
	const [, width, height] = /viewBox="0 0 (\d+) (\d+)"/.exec(drawing) ?? [];
	for (const [x = 0, y = 0] of bars) assert.ok(x < Number(width) && y + 40 < Number(height));
});

test("ls prints the holders of namespaces, and show all of one", { needs: [...HOLDING] }, () =>
	holding(1, async (held) => {
		const of = (way: string) => held.find((each) => each.way === way) as Held;
		const json = JSON.parse(userns("ls", "--json").stdout) as {
			namespaces: ListedNamespace[];
			unseen: string[];
		};
		const lines = userns("ls").stdout.split("\n");
		assert.match(lines[0] ?? "", /^namespace +owner +processes +map +holder$/);
		const line = (inode: number) => lines.find((each) => each.includes(`${inode} `)) ?? "";
		for (const [way, holder] of [
			["process", /process \d+ hold-namespaces$/],
			["descriptor", /descriptor \d+ of \d+ hold-namespaces$/],
			["mount", /mount \/\S+( \+\d+)?$/],
			["mount-elsewhere", /mount \/\S+$/],
			["child", /child \d+$/],
			["zombie", /process \d+ hold-namespaces$/],
			["other", /namespace uts:\[\d+\]$/],
			...(olderThan("6.19") === undefined ? ([["flight", / unknown$/]] as const) : []),
		] as const) {
			const { inode, map } = of(way);
			assert.match(line(inode), holder, way);
			assert.ok(line(inode).includes(` ${map} `), way);
			assert.ok(
				json.namespaces.some((each) => each.inode === inode),
				way,
			);
		}
		const child = of("child");
		const inner = json.namespaces.find(({ parentInode }) => parentInode === child.inode) as ListedNamespace;
		const host = Number(child.map.split(":")[1]);
		const shown = JSON.parse(userns("show", `${inner.inode}`, "--json").stdout);
		assert.deepEqual(shown.parents, [child.inode, OWN]);
		assert.deepEqual(shown.processes, [child.number]);
		const extent = (hostID: number) => [{ containerID: 5, hostID, size: 1 }];
		assert.deepEqual(shown.mapping.uidMappings, extent(host));
		assert.deepEqual(shown.mappingInParent.gidMappings, extent(0));
		const text = userns("show", `${child.number}`).stdout;
		assert.match(text, new RegExp(`^parent +inode ${child.inode}, below ${OWN}$`, "m"));
		assert.match(
			text,
			new RegExp(
				`^ +inside +outside +IDs\nuid, gid +5 +${host} +1\n +inside +in the parent +IDs\nuid, gid +5 +0 +1\n$`,
				"m",
			),
		);
		const pinned = userns("show", `${of("mount").inode}`).stdout;
		assert.match(pinned, /^held by +mount \/\S+/m);
		assert.doesNotMatch(pinned, /in the parent/);
		if (olderThan("6.18") === undefined) {
			assert.equal(JSON.parse(userns("show", `:${shown.id}`, "--json").stdout).inode, inner.inode);
		}
		const { status, stderr } = userns("show", "4294967295");
		assert.equal(status, 1);
		assert.match(stderr, /"4294967295": it is not in the list\nhint: See "userns ls"\./);
		const some = userns("ls", "-o", "pid,command,namespace,parent", "--pid", `${child.number}`)
			.stdout.trim()
			.split("\n");
		const cells = [child.number, "hold-namespaces", `└─${inner.inode}`, child.inode].map(String);
		assert.deepEqual(some.at(-1)?.trim().split(/\s+/), cells);
		assert.equal(some.length, 4);
		assert.equal(userns("ls", "--owner", "4000000").stdout, "");
	}),
);

test(
	"ls --svg writes a file, and wrong columns are wrong usage",
	{ needs: ["linux", "root", "mounts"] },
	() =>
		withTmpfs((folder) => {
			const file = join(folder, "tree.svg");
			const { status, stdout } = userns("ls", "--svg", file, "--pid", `${process.pid}`);
			assert.deepEqual([status, stdout], [0, `written to ${file}\n`]);
			assert.match(readFileSync(file, "utf8"), /^<svg .*<\/svg>\n$/s);
			assert.equal(userns("ls", "--svg", "-").stdout.slice(0, 5), "<svg ");
			for (const args of [
				["-o", "pid,evil"],
				["--columns", ""],
				["--svg", "-", "--json"],
				["--owner", "x"],
				["--pid", "0"],
				["x"],
			]) {
				assert.equal(userns("ls", ...args).status, 2, args.join(" "));
			}
		}),
);

test("show prints no control character of a program's name", { needs: ["linux", "root", "mounts"] }, () =>
	withTmpfs(async (folder) => {
		const name = "\x1b[31m\u202ebad<&";
		const program = join(folder, name);
		copyFileSync(spawnSync("sh", ["-c", "command -v sleep"], { encoding: "utf8" }).stdout.trim(), program);
		chmodSync(program, 0o755);
		const child = spawn(program, ["1000"], { stdio: "ignore" });
		try {
			await becomes(child.pid as number, name);
			const shown = userns("show", `${child.pid}`, "--wide").stdout;
			assert.ok(shown.includes(`${child.pid} \\u{1b}[31m\\u{202e}bad<&`));
			assert.doesNotMatch(shown.replaceAll("\n", ""), /[\p{Cc}\p{Cf}]/u);
		} finally {
			const closed = once(child, "close");
			child.kill("SIGKILL");
			await closed;
		}
	}),
);

test(
	"ls prints no control character of a path on which a namespace is mounted, and shows a hidden mount",
	{
		needs: ["linux", "root", "mounts", "ids"],
	},
	() =>
		withTmpfs((folder) => {
			const [below = ""] = mkdirs(folder, "\x1b[31m\u202ebad");
			const created = userns("create", "--map", "0:3000000:1", "--at", join(below, "file"), "--json");
			const { inode } = JSON.parse(created.stdout) as { inode: number };
			sh("mount", "-t", "tmpfs", "cover", below); // no path leads to the file now
			const { stdout, stderr } = userns("ls");
			assert.doesNotMatch(`${stdout}${stderr}`.replaceAll("\n", ""), /[\p{Cc}\p{Cf}]/u);
			const found = olderThan("6.19") === undefined ? stdout : stderr;
			assert.match(found, new RegExp(`${inode}.*\\\\u\\{1b\\}\\[31m\\\\u\\{202e\\}bad/file`));
			sh("umount", below);
			assert.match(userns("ls", "--json").stdout, new RegExp(`"inode": ${inode},`));
			sh("umount", join(below, "file"));
		}),
);

test(
	"show works for a pinned namespace that the list may not open",
	{
		needs: ["linux", "root", "mounts", "tool:setpriv", "tool:nsenter"],
	},
	() =>
		withTmpfs((folder) => {
			const path = join(folder, "pinned");
			sh(process.execPath, COMMAND, "create", "--map", "0:100000:65536", "--at", path);
			const prefix = [
				"--bounding-set=-sys_chroot",
				"--inh-caps=-sys_chroot",
				process.execPath,
				COMMAND,
				"show",
			];
			const { status, stdout, stderr } = spawnSync("setpriv", [...prefix, path], { encoding: "utf8" });
			assert.deepEqual([status, stderr], [0, ""]);
			assert.match(stdout, /^inode +\d+$/m);
			assert.match(stdout, /^uid, gid +0–65535 +100000–165535 +65536$/m);
			sh("umount", path);
		}),
);
