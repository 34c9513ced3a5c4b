import type { Command } from "commander";
import { type EnterOptions, type NamespaceKind, UserNamespace, UsernsError } from "../index.ts";
import { AUTO_HELP, readMap } from "./map-argument.ts";
import { openTarget, wholeNumber } from "./namespace-argument.ts";
import { MAP_HELP, printFailure } from "./output.ts";

interface Options extends EnterOptions {
	map?: string;
	in?: string;
	setgroups?: "deny" | "allow";
	json?: boolean;
}

/** As env(1) and chroot(1) have them, so that 1 and 2 are the program's own. */
const NOT_STARTED = 125;
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;
export const usageStatus: number = NOT_STARTED;

const HELP = `${MAP_HELP}
${AUTO_HELP}

The program takes the place of this one: its terminal, its signals and its exit
status are its own. It can read that terminal, and type into it where the kernel
allows that (TIOCSTI, sysctl dev.tty.legacy_tiocsti). 125: it was not started;
126: it cannot be executed; 127: it is not there.

KINDS are mount, pid, net, ipc, uts, cgroup and time. With pid,
all that runs in the new pid namespace ends with the program, and a program
whose three standard streams are the terminal is its foreground process group.

Groups inside can be set only where the namespace allows setgroups(2), so that
--groups takes "--setgroups allow" with it; so do programs inside that change
users, such as package managers and su.`;

export function define(command: Command): void {
	command
		.argument("<command>", "the program to run")
		.argument("[args...]", "its arguments")
		.option("--map <map>", "run in a new namespace with that mapping; see below")
		.option("--in <target>", "run in the namespace of a pid, or at a path")
		.option("--uid <number>", "the uid inside (default: 0, else the own)", id)
		.option("--gid <number>", "the gid inside (default: 0, else the own)", id)
		.option("--groups <numbers>", "supplementary groups inside, with commas", ids)
		.option("--setgroups <word>", '"deny" or "allow" setgroups(2) inside')
		.option("--unshare <kinds>", "other namespaces to make, with commas", kinds)
		.option("--json", "print a failure as JSON")
		.addHelpText("after", HELP)
		.passThroughOptions()
		.action(exec);
}

const id = wholeNumber("an ID");

function list(text: string): string[] {
	return text === "" ? [] : text.split(",");
}

/** The library knows which kinds there are. */
function kinds(text: string): NamespaceKind[] {
	return list(text) as NamespaceKind[];
}

function ids(text: string): number[] {
	return list(text).map(id);
}

/** Tells itself what went wrong: main would take a --json among the program's arguments for its own. */
async function exec(program: string, args: string[], options: Options): Promise<void> {
	try {
		await start(program, args, options);
	} catch (error) {
		await printFailure(error, options.json ?? false);
		process.exitCode = statusOf(error);
	}
}

async function start(program: string, args: string[], options: Options): Promise<void> {
	const namespace = await open(options);
	try {
		const { uid, gid, groups, unshare } = options;
		namespace.exec(program, args, { uid, gid, groups, unshare });
	} finally {
		namespace.close();
	}
}

async function open({ map, in: target, setgroups, groups }: Options): Promise<UserNamespace> {
	if ((map === undefined) === (target === undefined)) {
		throw new UsernsError(
			"ERR_USERNS_INVALID_ARGUMENT",
			map === undefined ? "there is neither --map nor --in" : "there is both --map and --in",
			{ hint: "Give one of them: --map makes a namespace, --in takes one that is there." },
		);
	}
	if (target === undefined) {
		const wanted = setgroups ?? (groups === undefined ? undefined : "allow");
		return UserNamespace.create(readMap(map as string), wanted === undefined ? {} : { setgroups: wanted });
	}
	if (setgroups === undefined) return openTarget(target);
	throw new UsernsError("ERR_USERNS_INVALID_ARGUMENT", "--setgroups is of no use beside --in", {
		hint: "It was decided when that namespace was made.",
	});
}

function statusOf(error: unknown): number {
	if (!(error instanceof UsernsError) || error.code !== "ERR_USERNS_NO_PROGRAM") return NOT_STARTED;
	return error.errnoCode === "ENOENT" ? NOT_FOUND : NOT_EXECUTABLE;
}
