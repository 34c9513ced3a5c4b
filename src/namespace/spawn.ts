import { type ChildProcess, type SpawnOptions, type StdioOptions, spawn } from "node:child_process";
import { accessSync, constants, readSync, statSync } from "node:fs";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { isMainThread } from "node:worker_threads";
import { invalidArgument, show, UsernsError } from "../errors.ts";
import { findProgram } from "../find-program.ts";
import { native, ownProgram } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { kernelError } from "../native/steps.ts";
import { ownCopy, ownMap } from "../options.ts";
import { type EnterOptions, type EnterRequest, type EnterTarget, enterRequest } from "./enter-options.ts";
import { refuseTraceable, restriction } from "./sysctls.ts";

/** Options of `UserNamespace.spawn`: those of `child_process.spawn`, with IDs that count inside, and what to unshare. */
export interface NamespaceSpawnOptions extends Omit<SpawnOptions, "uid" | "gid">, EnterOptions {
	/**
	 * Leaves the program in the session of this process, where it can read from the terminal and type into it. By
	 * default the program is in a new session, unless an entry of `stdio` is that terminal.
	 */
	keepSession?: boolean | undefined;
}

/** Options of `UserNamespace.exec`. */
export interface NamespaceExecOptions extends EnterOptions {
	/** The environment of the program; that of this process unless given. */
	env?: NodeJS.ProcessEnv | undefined;
	/** What the program finds as its argv[0]; the command unless given. */
	argv0?: string | undefined;
}

/** The program and its arguments as the shell or execve(2) takes them. */
interface Command {
	file: string;
	argv: string[];
	/** For messages. */
	shown: string;
}

function failed(shown: string): string {
	return `cannot run ${show(shown)} in the user namespace`;
}

/** Finds the program as execvp(3) would, where and with the PATH that it is started with. */
function locate(command: Command, env: NodeJS.ProcessEnv, cwd?: string): string {
	if (cwd !== undefined) checkDirectory(command, cwd);
	const place = findProgram(command.file, env, cwd);
	if (place?.executable) return place.found;
	const step = "looking for the program";
	if (place === undefined) {
		throw new UsernsError("ERR_USERNS_NO_PROGRAM", `${failed(command.shown)}: there is no such program`, {
			errno: ERRNO.ENOENT,
			step,
			hint: command.file.includes("/")
				? "The path has a mistake, or is relative to another directory."
				: `It is in no folder of PATH: ${env.PATH ?? "(not set)"}.`,
		});
	}
	throw new UsernsError(
		"ERR_USERNS_NO_PROGRAM",
		`${failed(command.shown)}: ${place.found} may not be executed`,
		{ errno: ERRNO.EACCES, step, hint: `See its permissions (chmod +x ${place.found}).` },
	);
}

function checkDirectory(command: Command, cwd: string): void {
	let cause: unknown;
	try {
		if (statSync(cwd, { throwIfNoEntry: false })?.isDirectory()) return;
	} catch (error) {
		cause = error; // too long, too many links, or a directory on the path that the caller may not search
	}
	const { errno, syscall, code } = (cause ?? {}) as NodeJS.ErrnoException;
	const why = code === undefined ? "" : ` that can be reached (${code})`;
	const message = `${failed(command.shown)}: there is no directory ${cwd.length > 200 ? `${cwd.slice(0, 200)}…` : cwd}${why}`;
	throw new UsernsError("ERR_USERNS_SPAWN", message, {
		step: "looking for the working directory",
		hint: "Give a cwd that exists.",
		errno,
		syscall,
		cause,
	});
}

/** Our own program; child_process would blame the caller's for what is wrong with it. */
function enterProgram(shown: string): string {
	const program = ownProgram("userns-enter");
	try {
		accessSync(program, constants.X_OK);
	} catch (error) {
		const { errno = ERRNO.ENOENT } = error as NodeJS.ErrnoException;
		throw enterError(shown, { step: "enter program", error: errno });
	}
	return program;
}

/** child_process.spawn. What it throws itself because the kernel refused is told as everything else is. */
function start(shown: string, args: readonly string[], options: SpawnOptions): ChildProcess {
	const program = enterProgram(shown);
	try {
		return spawn(program, args, options);
	} catch (cause) {
		const { errno, syscall, message } = cause as NodeJS.ErrnoException;
		if (typeof errno !== "number") throw cause; // wrong arguments
		throw new UsernsError("ERR_USERNS_SPAWN", `${failed(shown)}: ${message}`, {
			cause,
			errno,
			syscall,
			step: "starting userns-enter",
			hint: SPAWNING,
		});
	}
}

const SPAWNING =
	"Its arguments and environment may be too long together, or there are not enough descriptors left for its stdio (RLIMIT_NOFILE).";

/** The arguments of userns-enter (native/programs/userns-enter/main.c). */
function plan(
	first: number,
	ns: number,
	control: number | undefined,
	target: EnterTarget,
	who: EnterRequest,
	keepSession: boolean,
	program: string,
	argv: readonly string[],
): string[] {
	const { uid, gid, groups, unshare } = who;
	return [
		String(first),
		String(ns),
		control === undefined ? "-" : String(control),
		target.own ? "0" : "1",
		String(unshare),
		keepSession ? "1" : "0",
		String(uid),
		String(gid),
		groups === undefined ? "-" : groups.join(","),
		program,
		...argv,
	];
}

/** As child_process.spawn normalises them: at least the three standard ones. */
function stdioList(stdio: StdioOptions | undefined): Exclude<StdioOptions, string> {
	if (Array.isArray(stdio)) {
		const list = ownMap(stdio, (each) => each as (typeof stdio)[number]);
		return [...list, ...Array(Math.max(0, 3 - list.length)).fill("pipe")];
	}
	const word = (stdio as "pipe" | undefined) ?? "pipe";
	return [word, word, word];
}

function shellCommand(command: string, args: readonly string[], options: NamespaceSpawnOptions): Command {
	const { shell, argv0 } = options;
	if (!shell) {
		return { file: command, argv: [argv0 ?? command, ...args], shown: command };
	}
	const file = shell === true ? "/bin/sh" : shell;
	return { file, argv: [argv0 ?? file, "-c", [command, ...args].join(" ")], shown: command };
}

/** Starts a program inside. Wrong words, an ID that is not mapped and a missing program are thrown. */
export function spawnIn(
	target: EnterTarget,
	command: string,
	args: readonly string[],
	options: NamespaceSpawnOptions,
): ChildProcess {
	const { uid, gid, groups, unshare, keepSession, shell, argv0, stdio, ...others } = options;
	// Only the options that child_process reads, because the rest of a destructuring has a prototype again.
	const rest = ownCopy(others);
	rest.env ??= ownCopy(process.env);
	const who = enterRequest("UserNamespace.spawn", options, target);
	if (keepSession && options.detached) {
		throw invalidArgument(
			"UserNamespace.spawn: keepSession and detached exclude each other",
			"Leave out keepSession for a new session, or detached for the session of this process.",
		);
	}
	const request = shellCommand(command, args, options);
	const program = locate(request, rest.env, pathOf(rest.cwd));
	if (!target.own) refuseTraceable("ERR_USERNS_SPAWN", failed(command));
	const list = stdioList(stdio);
	const first = list.length;
	const own: SpawnOptions = { argv0: "userns-enter", stdio: [...list, target.fd, "pipe"] };
	const words = plan(first, first, first + 1, target, who, keepSession ?? false, program, request.argv);
	const child = start(command, words, Object.assign(rest, own));
	// The program is what the caller started: our two descriptors and our program are nobody's concern.
	Object.assign(child, { spawnfile: request.file, spawnargs: request.argv });
	const control = child.stdio?.[(first + 1) as 3] as Control | undefined;
	if (child.stdio !== undefined) (child.stdio as unknown as unknown[]).length = first;
	if (control != null) listen(child, control, request.shown);
	return child;
}

function pathOf(cwd: string | URL | null | undefined): string | undefined {
	return cwd instanceof URL ? fileURLToPath(cwd) : (cwd ?? undefined);
}

/**
 * The socket closes without data when the program is executed; data is the step that failed. The socket is closed here
 * as soon as the result is known, at the latest before the caller's `exit` listeners run, because listeners that start
 * the next programs would keep libuv handling exits without reading a socket in between (uv__signal_event() in libuv).
 */
function listen(child: ChildProcess, control: Control, shown: string): void {
	let words = "";
	const finish = () => {
		if (control.destroyed) return;
		control.destroy();
		const failure = parseAnswer(words);
		if (failure !== undefined) child.emit("error", enterError(shown, failure));
	};
	control.setEncoding("latin1");
	control.on("data", (more: string) => {
		words += more;
	});
	control.on("error", () => {});
	control.on("end", finish);
	child.once("exit", () => {
		words += unread(control);
		finish();
	});
}

/** The parent's end of the control socket, with the undocumented handle of Node's streams. */
interface Control extends Readable {
	readonly _handle?: { readonly fd?: number } | null;
}

/** Reads what is in the socket without waiting, because Node makes it non-blocking. */
function unread({ _handle }: Control): string {
	const buffer = Buffer.alloc(64);
	try {
		return buffer.toString("latin1", 0, readSync(_handle?.fd as number, buffer));
	} catch {
		return ""; // nothing yet (EAGAIN), or no descriptor
	}
}

/** The last number that a system call can answer with: MAX_ERRNO in include/linux/err.h. */
const MAX_ERRNO = 4095;

/** "STEP ERRNO" of userns-enter (native/programs/userns-enter/arguments.c), or nothing: the program was executed. */
export function parseAnswer(words: string): { step: string; error: number } | undefined {
	if (words === "") return undefined;
	const [, step, errno] = /^([a-z_]{1,20}) ([1-9]\d{0,3})$/.exec(words) ?? [];
	// Killed while it spoke, say.
	if (step === undefined || Number(errno) > MAX_ERRNO) return { step: "enter program", error: ERRNO.EPROTO };
	return { step: `enter ${step}`, error: -Number(errno) };
}

export function enterError(shown: string, outcome: { step: string; error: number }): UsernsError {
	return kernelError("ERR_USERNS_SPAWN", failed(shown), outcome, {
		hint: restriction(outcome.step, outcome.error) ?? hints[outcome.step]?.[outcome.error],
	});
}

const LIMITS =
	"Raise the limit of that kind in /proc/sys/user (max_pid_namespaces and so on), or end what is not used any more.";
const JOINING =
	"Joining a user namespace needs CAP_SYS_ADMIN in it: its owner, when he is its parent, and the root of its ancestors have that.";

const hints: Record<string, Record<number, string>> = {
	"enter setns": {
		[ERRNO.EPERM]: JOINING,
		[ERRNO.EINVAL]: "This process lives in that namespace already.",
	},
	"enter unshare": {
		[ERRNO.ENOSPC]: LIMITS,
		[ERRNO.EINVAL]: "The kernel was built without that kind of namespace.",
		[ERRNO.EPERM]:
			"A namespace beside the user namespace needs CAP_SYS_ADMIN in the latter; a seccomp filter may forbid it too.",
	},
	"enter program": {
		[ERRNO.ENOENT]:
			'The program userns-enter is missing beside the add-on: compile it with "node scripts/build-native.mjs".',
		[ERRNO.EACCES]:
			"The program userns-enter may not be executed: is the package on a file system mounted noexec?",
		[ERRNO.E2BIG]: "The arguments and the environment together are longer than execve(2) takes.",
	},
	"enter execve": {
		[ERRNO.EACCES]:
			"The IDs inside may not read and execute the program, or not enter a folder on the way to it: see who owns them, outside.",
		[ERRNO.ENOENT]: "The interpreter that its #! line names, or its dynamic loader, is not there.",
		[ERRNO.ENOEXEC]: "It is no program for this processor, and has no #! line.",
	},
};

/** MAX_ARG_STRLEN of the largest pages: 32 times 64 KiB, without the NUL (ARGUMENT_BYTES in native/addon/module.c). */
const MOST_TEXT_BYTES = 32 * 65536 - 1;

/** Replaces this process. Answers only by throwing. */
export function execIn(
	target: EnterTarget,
	command: string,
	args: readonly string[],
	options: NamespaceExecOptions,
	held: number,
): never {
	const request: Command = { file: command, argv: [options.argv0 ?? command, ...args], shown: command };
	if (!isMainThread) {
		throw new UsernsError("ERR_USERNS_SPAWN", `${failed(command)}: a worker cannot replace the process`, {
			hint: "Call exec on the main thread, or use spawn.",
		});
	}
	const env = options.env ?? ownCopy(process.env);
	const pairs = Object.entries(env).flatMap(([name, value]) =>
		value === undefined ? [] : [`${name}=${value}`],
	);
	// The error that the kernel returns beyond MAX_ARG_STRLEN. The C part does not accept longer arguments.
	if ([...request.argv, ...pairs].some((text) => Buffer.byteLength(text) > MOST_TEXT_BYTES)) {
		throw enterError(command, { step: "enter program", error: ERRNO.E2BIG });
	}
	const who = enterRequest("UserNamespace.exec", options, target);
	const program = locate(request, env);
	if (!target.own) refuseTraceable("ERR_USERNS_SPAWN", failed(command));
	const error = native().execute(
		enterProgram(command),
		["userns-enter", ...plan(3, held, undefined, target, who, true, program, request.argv)],
		pairs,
		held,
	);
	throw enterError(command, { step: "enter program", error });
}
