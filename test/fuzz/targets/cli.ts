import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { Command, CommanderError } from "commander";
import { define as defineCreate } from "../../../src/cli/create.ts";
import { define as defineExec } from "../../../src/cli/exec.ts";
import { define as defineMap } from "../../../src/cli/map.ts";
import { define as defineMount } from "../../../src/cli/mount.ts";
import { define as defineMounts } from "../../../src/cli/mounts.ts";
import { define as defineShow } from "../../../src/cli/show.ts";
import { define as defineUmount } from "../../../src/cli/umount.ts";
import { attempt, skeleton, type Target, toText } from "../engine/target.ts";

const WRONG = ["ERR_USERNS_INVALID_ARGUMENT", "ERR_USERNS_INVALID_MAPPING", "ERR_USERNS_OPEN"] as const;

/** Commands with effects: the test parses their arguments and does nothing then. */
const DOING = {
	create: defineCreate,
	exec: defineExec,
	mount: defineMount,
	mounts: defineMounts,
	show: defineShow,
	umount: defineUmount,
};

interface Made {
	command: Command;
	said: string[];
}

/** Builds the program as src/cli/main.ts does. */
function make(name: string, define: (command: Command) => void, acts: boolean): Made {
	const said: string[] = [];
	const write = (text: string) => void said.push(text);
	const program = new Command("userns")
		.enablePositionalOptions()
		.exitOverride()
		.configureOutput({ writeOut: write, writeErr: write });
	const command = program.command(name);
	define(command);
	if (!acts) command.action(() => {});
	return { command: program, said };
}

/** What the command writes. Standard output itself belongs to the fuzzer. */
function quietly(call: () => void): string {
	const { writeSync } = fs;
	const code = process.exitCode;
	let written = "";
	fs.writeSync = (_descriptor: number, bytes: unknown, at = 0) => {
		const text = (bytes as Buffer).subarray(at as number);
		written += text.toString();
		return text.length;
	};
	syncBuiltinESMExports();
	try {
		call();
	} finally {
		fs.writeSync = writeSync;
		syncBuiltinESMExports();
		process.exitCode = code;
	}
	return written;
}

/** The command may read neither a file of the machine nor the fuzzer's standard input. */
function isHarmful(args: readonly string[]): boolean {
	return args.some((arg) => arg === "-" || /^(--s|\/proc\/|\d+$)/.test(arg));
}

function run(
	name: string,
	define: (command: Command) => void,
	acts: boolean,
	args: readonly string[],
): string {
	const { command, said } = make(name, define, acts);
	let written = "";
	try {
		const read = attempt(WRONG, () => {
			written = quietly(() => void command.parse([name, ...args], { from: "user" }));
		});
		if ("error" in read) return skeleton(read.error);
	} catch (error) {
		if (!(error instanceof CommanderError)) throw error;
		return `${error.code} ${skeleton(error).slice(0, 60)}`;
	}
	if (args.includes("--json") && written !== "") JSON.parse(written);
	return `${said.length} ${written.slice(0, 3).replace(/\d/g, "0")}`;
}

/** The arguments of a command, one in each line; the first line is its name. */
const parsing: Target = {
	name: "cli",
	words: [
		..."create\n exec\n mount\n mounts\n show\n umount\n -- - --map\n --map= --in\n --uid\n --gid\n --groups\n --unshare\n --json\n --help\n".split(
			" ",
		),
		..."--setgroups\n --at\n --recursive\n --into\n --nested\n --atime\n --propagation\n --resolve\n --pid\n 0:1:2\n 5,6\n mount,pid\n".split(
			" ",
		),
	],
	seeds: [
		"exec\n--map\n0:100000:65536\n--uid\n0\n--groups=1,2\n--\nsh\n-c\nid",
		"mount\n--map\n0:1:2\n--recursive\n--into\n5\n/a\n/b",
		"create\n--map\n0:1:2\n--at\n/x",
		"mounts\n--pid\n1\n--json",
		"show\n1",
		"umount\n/x\n--into\n5",
	],
	run(bytes) {
		const [name = "", ...args] = toText(bytes).split("\n");
		const define = Object.hasOwn(DOING, name) ? DOING[name as keyof typeof DOING] : undefined;
		if (define === undefined) return "no command";
		return `${name} ${run(name, define, false, args)}`;
	},
	growing: {
		arguments: (n) => `exec\n--map\n0:0:1\nsh${"\n-x".repeat(n)}`,
		groups: (n) => `exec\n--groups\n${"1,".repeat(n)}1\nsh`,
		map: (n) => `mount\n--map\n${"0:1:1,".repeat(n)}\n/a\n/b`,
	},
};

/** `userns map`, which does all its work without the kernel. */
const mapping: Target = {
	name: "cli-map",
	words: [
		..."convert\n invert\n compose\n intersect\n subtract\n union\n translate\n check\n draw\n --from\n --to\n --json\n --uid\n --gid\n".split(
			" ",
		),
		..."--reverse\n --parent\n --container\n --user\n --rootless\n colon\n proc\n oci\n incus\n podman\n subid\n 0:100000:65536\n u:0:1:1\n -- ".split(
			" ",
		),
	],
	seeds: [
		"convert\n0:100000:65536\n--to\noci",
		"compose\n0:1:2\n1:5:9\n--json",
		"union\n0:1:2\nu:5:6:7",
		"translate\n--uid=5\n0:100000:65536\n--reverse",
		"check\n--json\n0:100000:65536",
		"draw\nu:0:1000:1,1:100000:65536,g:0:0:9",
		"convert\n--from\npodman\n--parent\n0:100000:65536\n+0:@100000:2\n--rootless",
		"convert\n--from\nsubid\n--user=1000\n1000:1:1",
	],
	run(bytes) {
		const args = toText(bytes).split("\n");
		return isHarmful(args) ? "harmful" : run("map", defineMap, true, args);
	},
	growing: {
		extents: (n) => `draw\n${Array.from({ length: n }, (_, i) => `${2 * i}:${3 * i}:1`).join(",")}`,
	},
};

export const cliTargets: readonly Target[] = [parsing, mapping];
