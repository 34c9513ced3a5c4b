import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { otherWord } from "../../src/cli/other-words.ts";
import { root, userns } from "../support/child.ts";
import { helpPages } from "../support/help-pages.ts";
import { test } from "../support/test.ts";

/** Wrong arguments of every sort that Commander and the commands report, each with --json. */
const WRONG: string[][] = [
	["--json"],
	["nonsense", "--json"],
	["-x", "--json", "show", "1"],
	["help", "--json"],
	["map", "--json"],
	["map", "nonsense", "--json"],
	["build", "--json"],
	["completion", "nonsense", "--json"],
	["show", "--json"],
	["show", "1", "2", "--json"],
	["mounts", "--json", "--pid", "x"],
	["mounts", "--json", "--pid"],
	["mount", "/a", "/b", "--json"],
	["mount", "--atime", "x", "/a", "/b", "--json"],
	["mount", "--map", "0:1:1", "--unmap", "/a", "/b", "--json"],
	["create", "--json"],
	["exec", "--json"],
	["exec", "--json", "--uid", "x", "true"],
	["exec", "--uid", "x", "--json", "true"],
	["exec", "--json", "--nonsense", "true"],
	["map", "translate", "--json", "0:1:1"],
	["map", "draw", "0:1:1", "--json", "--svg", "-"],
];

test("wrong usage with --json prints the error as JSON, with the message and status that it has without", () => {
	const commands = [...helpPages().keys()].slice(1).map((path) => path.split(" ").slice(1));
	for (const args of [...WRONG, ...commands.map((words) => [...words, "--json", "--no-such-option"])]) {
		const { status, stdout, stderr } = userns(...args);
		const { error } = JSON.parse(stdout);
		assert.deepEqual(Object.keys(error), ["code", "message", "hint"], args.join(" "));
		assert.equal(error.code, "ERR_USERNS_INVALID_ARGUMENT");
		assert.equal(stderr, `userns: ${error.message}\nhint: ${error.hint}\n`);
		assert.equal(status, args[0] === "exec" ? 125 : 2, args.join(" "));
	}
});

test("--json of the program that exec runs does not make exec print JSON", () => {
	for (const args of [
		["--uid", "x", "true", "--json"],
		["--nonsense", "true", "--json"],
		["--nonsense", "--", "true", "--json"],
	]) {
		const { status, stdout } = userns("exec", ...args);
		assert.deepEqual({ status, stdout }, { status: 125, stdout: "" });
	}
});

test("an option is not taken as the value of the option before it, and nothing is done", () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-usage-"));
	try {
		const cases: [args: string[], option: string, value: string][] = [
			[["map", "translate", "--uid", "--gid", "0:1:1"], "--uid <id>", "--gid"],
			[["map", "draw", "--svg", "--json", "0:1:1"], "--svg <file>", "--json"],
			[["map", "draw", "--svg", "--no-such", "0:1:1"], "--svg <file>", "--no-such"],
			[["map", "draw", "--svg", "-h", "0:1:1"], "--svg <file>", "-h"],
			[["mount", "--map", "--recursive", "/a", "/b"], "--map <map>", "--recursive"],
			[["create", "--map", "0:1:1", "--at", "--json"], "--at <path>", "--json"],
			[["umount", "--into", "--recursive", "/a"], "--into <pid|path>", "--recursive"],
			[["exec", "--map", "--", "true"], "--map <map>", "--"],
		];
		for (const [args, option, value] of cases) {
			const { status, stderr } = userns(...args);
			const name = option.split(" ")[0];
			assert.equal(
				stderr,
				`userns: option '${option}' has no value, because '${value}' after it is an option\n` +
					`hint: Write the value after ${name}, or "${name}=${value}" if '${value}' is the value.\n`,
			);
			assert.equal(status, args[0] === "exec" ? 125 : 2);
		}
		// As the hint says.
		const file = join(folder, "--json");
		assert.equal(userns("map", "draw", `--svg=${file}`, "0:1:1").status, 0);
		assert.ok(existsSync(file));
	} finally {
		rmSync(folder, { recursive: true });
	}
	assert.ok(!existsSync("--json") && !existsSync(join(root, "--json")));
});

test("a message about a missing or surplus argument says as what the others are taken", () => {
	const cases: [args: string[], message: string][] = [
		[
			["map", "draw", "--svg", "0:1:1"],
			"missing required argument 'mapping': '0:1:1' is taken as the file of --svg",
		],
		[
			["mount", "--map", "0:1:1", "/a"],
			"missing required argument 'target': '0:1:1' is taken as the map of --map, '/a' as the source",
		],
		[["mount", "--map=0:1:1"], "missing required argument 'source': '0:1:1' is taken as the map of --map"],
		[
			["mount", "--recursive", "yes", "/a", "/b"],
			"too many arguments for 'mount'. Expected 2 arguments but got 3: 'yes' is taken as the source, '/a' as the target",
		],
		[["umount"], "missing required argument 'path'"],
	];
	for (const [args, message] of cases)
		assert.equal(userns(...args).stderr.split("\n")[0], `userns: ${message}`);
});

test("a program that is not found and looks like a further value of an option is named as the program", {
	needs: ["linux", "root"],
}, () => {
	const cases: [args: string[], program: string, list: string][] = [
		[["--map", "0:0:9", "--unshare", "mount", "pid", "true"], "pid", "--unshare mount,pid"],
		[["--map", "0:0:9", "--groups=4", "5", "true"], "5", "--groups 4,5"],
		[["--map", "0:0:9", "g:9:9:1", "true"], "g:9:9:1", "--map 0:0:9,g:9:9:1"],
	];
	for (const [args, program, list] of cases) {
		const { status, stderr } = userns("exec", ...args);
		const option = list.split(" ")[0];
		assert.match(stderr, /there is no such program/);
		assert.equal(
			stderr.split("\n")[1],
			`hint: "${program}" is taken as the program. Separate the values of ${option} with commas: ${list}.`,
		);
		assert.equal(status, 127);
	}
	assert.match(userns("exec", "--map", "0:0:9", "no-such").stderr, /\nhint: Install it/);
});

/** What users of other programs write, with the option or command that does it here. */
const OTHERS: [args: string, own: string][] = [
	["findmnt", "mounts"],
	["lsns", "ls"],
	["list", "ls"],
	["run", "exec"],
	["unshare -Urm sh", "exec"],
	["nsenter", "exec --in"],
	["unmount /a", "umount"],
	["rm /a", "umount"],
	["inspect 1", "show"],
	["draw 0:1:1", "map draw"],
	["check 0:1:1", "map check"],
	["map validate 0:1:1", "check"],
	["map merge 0:1:1 1:2:1", "union"],
	["mount --map-users 0:1:1 /a /b", "--map u:"],
	["mount --map-groups=0:1:1 /a /b", "--map g:"],
	["mount --rbind /a /b", "--recursive"],
	["mount -r /a /b", "--read-only"],
	["mount --make-rslave /b", "--propagation slave"],
	["umount -R /a", "--recursive"],
	["mounts -a", "--all"],
	["create --map-users 0:1:1", "--map u:"],
	["create --mpa 0:1:1 --at /a", "--map"],
	["exec -Urm sh", "--map auto --unshare mount"],
	["exec -Urpf sh", "--map auto --unshare pid"],
	["exec -Umpn sh", "--unshare mount,pid,net"],
	["exec -r sh", "--map auto"],
	["exec --map-root-user sh", "--map auto"],
	["exec --net sh", "--unshare net"],
	["exec -t 1 -U sh", "--in"],
	["exec -S 0 sh", "--uid"],
	["exec --userns=keep-id sh", "--map"],
	["exec --uidmap 0:1:1 sh", "--map u:"],
];

/** The same, where a sentence is the hint. */
const SENTENCES: [args: string, hint: RegExp][] = [
	["mount -o X-mount.idmap=0:1:1 /a /b", /"--map MAP" for "-o X-mount\.idmap=MAP"/],
	["mount -oX-mount.idmap=0:1:1 /a /b", /"--map MAP" for "-o X-mount\.idmap=MAP"/],
	["mount --bind /a /b", /^Leave it out: /],
	["mount -t tmpfs tmpfs /b", /^Leave it out: /],
	["mount -l", /"userns mounts"/],
	["mount", /"userns mounts"/],
	["umount -l /a", /no lazy unmount/],
	["exec -U sh", /^Leave it out: /],
	["exec --mount-proc sh", /mount -t proc proc \/proc/],
	["show --pid 1", /"userns show PID"/],
];

test("the words of mount(8), umount(8), unshare(1), nsenter(1) and podman(1) lead to those of the command", () => {
	for (const [args, own] of OTHERS) {
		const { status, stderr } = userns(...args.split(" "));
		const [, suggestion = ""] =
			/^userns: unknown .* \(Did you mean (.*)\?\)\nhint: See .*\n$/.exec(stderr) ?? [];
		assert.ok(suggestion.startsWith(own), `${args}: ${stderr}`);
		assert.equal(status, args.startsWith("exec") ? 125 : 2, args);
	}
	for (const [args, hint] of SENTENCES) {
		const [message = "", line = ""] = userns(...args.split(" ")).stderr.split("\n");
		assert.match(line.replace("hint: ", ""), hint, args);
		assert.doesNotMatch(message, /Did you mean/, args);
	}
});

test("every word that is suggested exists, and no word that exists is in the table", () => {
	const pages = helpPages();
	for (const [path, page] of pages) {
		const names = [...page.matchAll(/^ {2}(?:(-\w), )?(--[\w-]+|[a-z]+\b)/gm)].flatMap(([, short, long]) => [
			short,
			long,
		]);
		for (const name of names) {
			if (name !== undefined) assert.equal(otherWord(path, name), undefined, `${path} ${name}`);
		}
	}
	// Every word that the table has an answer for, found by its one-letter options and the words of the cases.
	const words = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"].map((letter) => `-${letter}`);
	const given = OTHERS.flatMap(([args]) => args.split(" "));
	for (const [path, page] of pages) {
		for (const word of [...words, ...given]) {
			const own = otherWord(path, word);
			if (own === undefined || own.endsWith(".")) continue;
			const [first = ""] = own.split(" ");
			assert.match(page, new RegExp(`^  (?:-\\w, )?${first}\\b`, "m"), `${path}: ${own}`);
			if (!first.startsWith("-"))
				assert.ok(pages.has(`${path} ${own.replace(/ -.*/, "")}`), `${path} ${own}`);
		}
	}
});
