import { basename } from "node:path";
import type { Command } from "commander";
import { type JoinedNamespaces, type NamespaceKind, UserNamespace, UsernsError } from "../index.ts";
import { keptIds, NAMESPACE_MAP_HELP, readMap, setgroupsOption, userOption } from "./map-argument.ts";
import { isPid, namespaceKinds, openTarget, wholeNumber } from "./namespace-argument.ts";
import { failureText } from "./output.ts";

interface Options {
	map?: string;
	user?: string;
	in?: string;
	uid?: number;
	gid?: number;
	groups?: number[];
	keepGroups?: true;
	unshare?: NamespaceKind[];
	join?: JoinedNamespaces["kinds"];
	chdir?: string;
	preserveFds?: number;
	/** False with --no-new-privs: commander takes "--no-" for a negation. */
	newPrivs?: boolean;
	setgroups?: "deny" | "allow";
	json?: boolean;
}

/** The statuses of env(1) and chroot(1), because 1 and 2 belong to the program. */
const NOT_STARTED = 125;
const NOT_EXECUTABLE = 126;
const NOT_FOUND = 127;

const HELP = `
Example:
  userns exec --map auto --unshare mount,pid -- sh
starts a shell as root of a new user namespace. The caller needs no privilege.
  userns exec --in PID --join all
starts a shell in the namespaces of a container's process.

The program replaces this command: it has its pid, its terminal and its exit
status. The program can read the terminal, and can insert input into it if the
kernel allows that (TIOCSTI, sysctl dev.tty.legacy_tiocsti).
Exit status: 125 if the program was not started, 126 if it cannot be executed,
127 if it does not exist.
${NAMESPACE_MAP_HELP}

The program runs as the caller's own uid and gid if the caller is not root and
the namespace maps both, as with keep-id: files that it makes belong to the
caller outside. With --user, these are the IDs of that user. Otherwise it runs
as root inside or, if 0 is not mapped, as the caller's own IDs.

KINDS is a list of mount, pid, net, ipc, uts, cgroup and time, separated by
commas. --unshare creates namespaces of these kinds, with the loopback device up
in net. With pid, every process of the new pid namespace ends with the program;
the program becomes the foreground process group of the terminal if the terminal
is its standard input, output and error.

--join joins those of the process of --in instead, as nsenter(1) does; "all" is
every kind in which they are not the caller's. With mount, the program is
looked up there, in the PATH of the caller, and starts in /, unless --chdir
names another directory there. The program is not confined as the processes of
a container are: it has no seccomp filter, is in the caller's cgroup, and has
every capability inside if it is root there.

--keep-groups keeps the caller's supplementary groups, so that the program has
access to their files; inside, groups without a map have the number 65534. With
--setgroups allow, the program can drop a group, and so reach a file to which
the group has less access than others.

--groups implies --setgroups allow, because groups can be set only in a
namespace that allows setgroups(2). Programs that change users, such as su and
package managers, need --setgroups allow too.`;

export function define(command: Command): void {
	command
		.argument("[command]", "the program to run (default: $SHELL, or /bin/sh, as a login shell)")
		.argument("[args...]", "the arguments of the program")
		.option("--map <map>", "create a namespace with this mapping; see below")
		.addOption(userOption())
		.option("--in <target>", "use the namespace of a process, or at a path")
		.option("--uid <number>", "the uid inside (default: 0, or with keep-id the caller's; see below)", id)
		.option("--gid <number>", "the gid inside (default: 0, or with keep-id the caller's; see below)", id)
		.option("--groups <numbers>", "the supplementary groups inside, such as 4,24", ids)
		.option("--keep-groups", "keep the caller's supplementary groups; see below")
		.addOption(setgroupsOption('whether setgroups(2) works inside (default: "deny")'))
		.option("--unshare <kinds>", "also create these other namespaces; see below", kinds)
		.option("--join <kinds>", 'join the other namespaces of the process of --in, or "all"; see below', joined)
		.option("--chdir <dir>", "the working directory of the program, inside")
		.option(
			"--preserve-fds <number>",
			"also pass this many descriptors, from 3 on",
			wholeNumber("The number of descriptors"),
		)
		.option("--no-new-privs", "set-user-ID programs and file capabilities give no privilege")
		.option("--json", "print a failure as JSON")
		.addHelpText("after", HELP)
		.passThroughOptions()
		.action(exec);
}

const id = wholeNumber("An ID");

function list(text: string): string[] {
	return text === "" ? [] : text.split(",");
}

/** The library checks the kinds. */
function kinds(text: string): NamespaceKind[] {
	return list(text) as NamespaceKind[];
}

function joined(text: string): JoinedNamespaces["kinds"] {
	return text === "all" ? text : kinds(text);
}

function ids(text: string): number[] {
	return list(text).map(id);
}

/** Options whose value is a list, with the form of its items: `--unshare mount pid` has "pid" as the program. */
const LISTS = {
	unshare: new RegExp(`^(${namespaceKinds.join("|")}),?$`),
	join: new RegExp(`^(${namespaceKinds.join("|")}),?$`),
	groups: /^\d+,?$/,
	map: /^([ugb]:)?\d+:\d+:\d+,?$/,
};

/** Without a program, starts a login shell as unshare(1) and nsenter(1) do: its argv[0] begins with "-". */
async function exec(given: string | undefined, args: string[], options: Options): Promise<void> {
	const program = given ?? (process.env.SHELL || "/bin/sh");
	const { uid, gid, unshare, join, chdir: cwd, preserveFds } = options;
	const pid = joinedProcess(options);
	const namespace = await open(options, program, args);
	const explained = (error: unknown) => explainProgram(error, program, options);
	try {
		const kept = keptIds(options, () => namespace.mappingSync());
		namespace.exec(program, args, {
			...{ unshare, cwd, preserveFds },
			uid: uid ?? kept.uid,
			gid: gid ?? (uid === undefined ? kept.gid : undefined),
			groups: options.keepGroups ? "keep" : options.groups,
			noNewPrivs: options.newPrivs === false,
			failureText: (error) => failureText(explained(error), options.json === true),
			...(given === undefined && { argv0: `-${basename(program)}` }),
			...(pid !== undefined && join !== undefined && { join: { pid, kinds: join } }),
		});
	} catch (error) {
		throw explained(error);
	} finally {
		namespace.close();
	}
}

/** The error of a program that does not exist because it is a value of the list before it, with that as its hint. */
function explainProgram(error: unknown, program: string, options: Options): unknown {
	const [list] = Object.entries(LISTS).find(([name, item]) => name in options && item.test(program)) ?? [];
	if (list === undefined || statusOf(error) !== NOT_FOUND) return error;
	const { code, message, errno, step } = error as UsernsError;
	const values = [options[list as keyof typeof LISTS]].flat().join(",");
	return new UsernsError(code, message, {
		errno,
		step,
		hint: `"${program}" is taken as the program. Separate the values of --${list} with commas: --${list} ${values},${program}.`,
	});
}

/** The process of --in, whose other namespaces --join names. */
function joinedProcess({ join, in: target }: Options): number | undefined {
	if (join === undefined) return undefined;
	if (target !== undefined && isPid(target)) return Number(target);
	throw new UsernsError("ERR_USERNS_INVALID_ARGUMENT", "--join needs the pid of a process in --in", {
		hint: "Name a process in the namespaces: --in PID --join KINDS.",
	});
}

async function open(
	{ map, user, in: target, setgroups, groups, keepGroups }: Options,
	program: string,
	args: readonly string[],
): Promise<UserNamespace> {
	const late = /^--(map|in)\b/.exec(args.find((arg) => /^--(map|in)(=|$)/.test(arg)) ?? "")?.[1];
	if (map === undefined && target === undefined && late !== undefined) {
		const value = late === "map" ? "MAP" : "TARGET";
		throw new UsernsError("ERR_USERNS_INVALID_ARGUMENT", `--${late} comes after the command`, {
			hint: `Options come before the command: "userns exec --${late} ${value} -- ${program}".`,
		});
	}
	if ((map === undefined) === (target === undefined)) {
		throw new UsernsError(
			"ERR_USERNS_INVALID_ARGUMENT",
			map === undefined ? "neither --map nor --in is given" : "both --map and --in are given",
			{ hint: "Give one of them: --map creates a namespace, --in uses an existing one." },
		);
	}
	if (groups !== undefined && keepGroups) {
		throw new UsernsError("ERR_USERNS_INVALID_ARGUMENT", "both --groups and --keep-groups are given", {
			hint: "Give one of them: --keep-groups keeps the caller's groups, --groups sets other ones.",
		});
	}
	if (target === undefined) {
		const wanted = setgroups ?? (groups === undefined ? undefined : "allow");
		return UserNamespace.create(
			readMap(map as string, user),
			wanted === undefined ? {} : { setgroups: wanted },
		);
	}
	if (user !== undefined) {
		throw new UsernsError("ERR_USERNS_INVALID_ARGUMENT", "--user cannot be used with --in", {
			hint: "Leave --user out: the mapping is fixed when a namespace is created.",
		});
	}
	if (setgroups === undefined) return openTarget(target);
	throw new UsernsError("ERR_USERNS_INVALID_ARGUMENT", "--setgroups cannot be used with --in", {
		hint: "Leave --setgroups out: the setting is fixed when a namespace is created.",
	});
}

export function statusOf(error: unknown): number {
	if (!(error instanceof UsernsError) || error.code !== "ERR_USERNS_NO_PROGRAM") return NOT_STARTED;
	return error.errnoCode === "ENOENT" ? NOT_FOUND : NOT_EXECUTABLE;
}
