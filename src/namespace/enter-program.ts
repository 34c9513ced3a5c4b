import { statSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { show, UsernsError } from "../errors.ts";
import { DEFAULT_PATH, findProgram } from "../find-program.ts";
import { causeHint, remainingHint } from "../inspect/causes.ts";
import type { DryCall } from "../inspect/facts.ts";
import { native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { hintOf, kernelError, type StepHints } from "../native/steps.ts";
import { refuseDenied } from "../permission.ts";
import type { EnterRequest } from "./enter-request.ts";
import { executeHints, ownProgramHints } from "./own-program.ts";

/*
 * The program userns-enter (native/programs/userns-enter/), which joins a user namespace and executes the caller's program: its
 * arguments, the look-up of the caller's program, and its errors.
 */

/** The caller's program and its arguments, as execve(2) takes them. */
export interface Command {
	file: string;
	argv: string[];
	/** The command in messages. */
	shown: string;
}

export function triedToRun(shown: string): string {
	return `cannot run ${show(shown)} in the user namespace`;
}

/** The error for the caller's own user namespace, where a program would run with the caller's IDs and capabilities. */
export function ownNamespace(shown: string): UsernsError {
	return new UsernsError(
		"ERR_USERNS_SPAWN",
		`${triedToRun(shown)}: it is the user namespace of this process, so the program would have the caller's own IDs and privileges`,
		{
			step: "comparing the user namespaces",
			hint: "Name a process in another user namespace, or create one.",
		},
	);
}

/** The path of the caller's program, as execvp(3) finds it with the PATH and working directory of the new process. */
export function findCommand(command: Command, env: NodeJS.ProcessEnv, cwd?: string): string {
	if (cwd !== undefined) checkDirectory(command, cwd);
	const found = findProgram(command.file, env, cwd);
	if (found?.executable) return found.found;
	const tried = triedToRun(command.shown);
	const step = "looking for the program";
	if (found === undefined && isDirectory(command.file, cwd)) {
		throw new UsernsError("ERR_USERNS_NO_PROGRAM", `${tried}: it is a directory`, {
			errno: ERRNO.EACCES,
			step,
			hint: "Name a program.",
		});
	}
	if (found === undefined && isBehindDirectory(command.file, cwd)) {
		throw new UsernsError("ERR_USERNS_NO_PROGRAM", `${tried}: a directory on its path may not be searched`, {
			errno: ERRNO.EACCES,
			step,
			hint: "Let the caller search each directory on the path.",
		});
	}
	if (found === undefined) {
		const relative = isAbsolute(command.file)
			? "it does not exist"
			: "it is relative to the working directory";
		throw new UsernsError("ERR_USERNS_NO_PROGRAM", `${tried}: there is no such program`, {
			errno: ERRNO.ENOENT,
			step,
			hint: command.file.includes("/")
				? `Check the path: ${relative}.`
				: `Install it in a directory of PATH: ${directories(env.PATH ?? DEFAULT_PATH)}.`,
		});
	}
	throw new UsernsError("ERR_USERNS_NO_PROGRAM", `${tried}: ${found.found} may not be executed`, {
		errno: ERRNO.EACCES,
		step,
		hint: `Make it executable: "chmod +x ${found.found}".`,
	});
}

/** The first directories of PATH, each once and whole, in about 100 characters; an empty entry is the working directory. */
function directories(path: string): string {
	const all = [...new Set(path.split(":").map((entry) => (entry === "" ? "." : entry)))];
	let length = 0;
	const shown = all.filter((entry, i) => {
		length += entry.length + 2;
		return i === 0 || length <= 100;
	});
	return `${shown.join(", ")}${shown.length < all.length ? `, and ${all.length - shown.length} more` : ""}`;
}

function cut(text: string, length: number): string {
	return text.length > length ? `${text.slice(0, length)}…` : text;
}

/** Whether a program that is named by a path is a directory, for which execve(2) fails with EACCES. */
function isDirectory(file: string, cwd = "."): boolean {
	try {
		return file.includes("/") && statSync(resolve(cwd, file)).isDirectory();
	} catch (error) {
		refuseDenied(error, file);
		return false; // no such file, or the caller may not search a directory on the path
	}
}

/** Whether the caller may not search a directory on the path of the program. */
function isBehindDirectory(file: string, cwd = "."): boolean {
	try {
		if (file.includes("/")) statSync(resolve(cwd, file));
		return false;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "EACCES";
	}
}

function checkDirectory(command: Command, cwd: string): void {
	let cause: unknown;
	let isFile = false;
	try {
		const found = statSync(cwd, { throwIfNoEntry: false });
		if (found?.isDirectory()) return;
		isFile = found !== undefined;
	} catch (error) {
		refuseDenied(error, cwd);
		cause = error; // too long, too many links, or a directory on the path that the caller may not search
	}
	const { errno, syscall, code } = (cause ?? {}) as NodeJS.ErrnoException;
	const why = code === undefined ? "" : ` that can be reached (${code})`;
	const shown = cut(cwd, 200);
	const wrong = isFile ? `${shown} is not a directory` : `there is no directory ${shown}${why}`;
	const message = `${triedToRun(command.shown)}: ${wrong}`;
	throw new UsernsError("ERR_USERNS_SPAWN", message, {
		step: "looking for the working directory",
		hint: "Name a directory that exists as the working directory.",
		errno,
		syscall,
		cause,
	});
}

/**
 * Calls `run` with a path of userns-enter, which is valid until it returns. `least`: the first descriptor that the child does not
 * use otherwise. The add-on checks the path, because a /proc that is no procfs may have a program of another user there.
 */
export function withEnterProgram<T>(shown: string, least: number, run: (path: string) => T): T {
	const { fd, error, step = "" } = native().openProgram(least);
	if (error < 0) throw enterError(shown, { step, error });
	try {
		return run(`/proc/self/fd/${fd}`);
	} finally {
		native().close(fd);
	}
}

/** The descriptors of userns-enter. */
export interface EnterDescriptors {
	/** The first one that the caller's program does not inherit. */
	first: number;
	/** Undefined, for an answer alone: the namespace of this process. */
	namespace: number | undefined;
	/** The socket for a failure. Undefined: a text of the plan is printed. */
	control: number | undefined;
	/** The pidfd of the process whose namespaces are joined. */
	process: number | undefined;
}

/** What userns-enter executes, and where. */
export interface EnterPlan {
	/** The paths of the program, of which the first that can be executed is. */
	programs: readonly string[];
	argv: readonly string[];
	/** Empty: the working directory of userns-enter. */
	directory: string;
	/** What is printed for each failure (failure-texts.ts). */
	texts: string;
	/** The namespaces to join: CLONE_NEW… flags. */
	join: number;
	keepSession: boolean;
}

/** The arguments of userns-enter (native/programs/userns-enter/main.c). */
export function enterArguments(
	{ first, namespace, control, process }: EnterDescriptors,
	{ uid, gid, groups, unshare, noNewPrivs }: EnterRequest,
	{ programs, argv, directory, texts, join, keepSession }: EnterPlan,
): string[] {
	return [
		String(first),
		String(namespace ?? "-"),
		String(control ?? "-"),
		String(process ?? "-"),
		String(join),
		String(unshare),
		keepSession ? "1" : "0",
		noNewPrivs ? "1" : "0",
		String(uid),
		String(gid),
		groups === undefined ? "-" : groups === "keep" ? "+" : groups.join(","),
		directory,
		texts,
		String(programs.length),
		...programs,
		...argv,
	];
}

/** The largest errno of a system call: MAX_ERRNO in include/linux/err.h. */
const MAX_ERRNO = 4095;

/**
 * Parses "STEP ERRNO" of userns-enter (native/programs/userns-enter/arguments.c). Undefined for an empty text, because the
 * program was executed.
 */
export function parseAnswer(words: string): { step: string; error: number } | undefined {
	if (words === "") return undefined;
	const [, step, errno] = /^([a-z_]{1,20}) ([1-9]\d{0,3})$/.exec(words) ?? [];
	// A process that was killed can leave an incomplete answer.
	if (step === undefined || Number(errno) > MAX_ERRNO) return { step: "enter program", error: ERRNO.EPROTO };
	return { step: `enter ${step}`, error: -Number(errno) };
}

export function enterError(
	shown: string,
	outcome: { step: string; error: number },
	where: "here" | "joined" = "here",
): UsernsError {
	if (where === "joined" && outcome.step === "enter execve" && outcome.error === ERRNO.ENOENT) {
		return kernelError("ERR_USERNS_NO_PROGRAM", triedToRun(shown), outcome, {
			hint: "Name a program of the joined mount namespace: it, or its interpreter, is not there in a directory of PATH.",
		});
	}
	return kernelError("ERR_USERNS_SPAWN", triedToRun(shown), outcome, {
		hint: hintOf(hints, outcome),
	});
}

const PROC = "Mount a procfs of this process's PID namespace on /proc: spawn executes /proc/self/fd/N.";

/** A step of userns-enter that was refused. The namespace gives every capability in it, unless something restricts that. */
const refused = (doing: string, call?: DryCall) =>
	causeHint({ operation: "in the namespace", doing, calls: call === undefined ? [] : [call] });

const mountRefused = () => refused("making the mounts of the program private") ?? remainingHint();

const hints: StepHints = {
	"own program": ownProgramHints,
	"own table": { [ERRNO.EPERM]: () => refused("executing userns-enter") ?? remainingHint("run") },
	"own path": { [ERRNO.ENOENT]: PROC, [ERRNO.EXDEV]: PROC, [ERRNO.EACCES]: PROC },
	"enter setns": {
		[ERRNO.EPERM]: () =>
			refused("joining a namespace", "setns") ??
			"Use CAP_SYS_ADMIN in the namespace: its owner in the parent namespace has that capability, and so has root of an ancestor.",
		[ERRNO.EINVAL]: "Name another user namespace: this process is already in that one.",
	},
	"enter join": {
		[ERRNO.EPERM]: () =>
			refused("joining the namespaces of a process", "setns") ??
			"Use CAP_SYS_ADMIN in the user namespaces that own these namespaces, and for mount CAP_SYS_CHROOT in that of this process.",
		[ERRNO.EINVAL]: "Use Linux 5.8 or later, or a process whose pid namespace is below that of this process.",
		[ERRNO.ESRCH]: "Name another process in the namespaces: this one has ended.",
	},
	"enter moved": {
		[ERRNO.ESTALE]: "Try again: the process moved to another user namespace during the call.",
	},
	"enter chdir": {
		[ERRNO.ENOENT]: "Name a directory that exists in the mount namespace of the program.",
		[ERRNO.ENOTDIR]: "Name a directory.",
		[ERRNO.EACCES]: "Let the IDs in the namespace search each directory on the path.",
		[ERRNO.EXDEV]: "Name a directory below the root directory of the program.",
	},
	"enter unshare": {
		[ERRNO.ENOSPC]:
			"Raise the limit of that kind in /proc/sys/user (max_pid_namespaces and others), or end namespaces.",
		[ERRNO.EINVAL]: "Use a kernel with that kind of namespace.",
		[ERRNO.EPERM]: () => refused("creating the other namespaces", "unshare") ?? remainingHint(),
	},
	"enter mount": { [ERRNO.EPERM]: mountRefused, [ERRNO.EACCES]: mountRefused },
	"enter program": {
		...executeHints,
		[ERRNO.E2BIG]: "Shorten the arguments and the environment: together they exceed the limit of execve(2).",
	},
	"enter execve": {
		[ERRNO.EACCES]:
			"Let the IDs in the namespace execute the program and search each directory on its path: check their owners.",
		[ERRNO.ENOENT]: "Install the interpreter that the #! line names, or the program's dynamic loader.",
		[ERRNO.ENOEXEC]: "Name a program for this CPU architecture, or a script with a #! line.",
	},
};
