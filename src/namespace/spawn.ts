import { type ChildProcess, type SpawnOptions, type StdioOptions, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { invalidArgument, UsernsError } from "../errors.ts";
import { programPaths } from "../find-program.ts";
import { CLONE_NEW, native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { ownCopy, ownEnvironment, ownMap } from "../options.ts";
import { refuseDenied } from "../permission.ts";
import type { NamespaceSpawnOptions } from "./enter-options.ts";
import {
	type Command,
	enterArguments,
	enterError,
	findCommand,
	parseAnswer,
	triedToRun,
	withEnterProgram,
} from "./enter-program.ts";
import { type EnterTarget, enterRequest } from "./enter-request.ts";
import { type JoinedProcess, openJoined } from "./join.ts";
import { refuseTraceable } from "./sysctls.ts";

/** Starts userns-enter with child_process.spawn, and converts an error of the kernel to a UsernsError. */
export function start(
	shown: string,
	args: readonly string[],
	options: SpawnOptions,
	least: number,
): ChildProcess {
	try {
		return withEnterProgram(shown, least, (program) =>
			withStandardStreams(() => spawn(program, args, options)),
		);
	} catch (cause) {
		refuseDenied(cause, shown);
		const { errno, syscall, message } = cause as NodeJS.ErrnoException;
		if (typeof errno !== "number" || cause instanceof UsernsError) throw cause; // wrong arguments, or told already
		throw new UsernsError("ERR_USERNS_SPAWN", `${triedToRun(shown)}: ${message}`, {
			cause,
			errno,
			syscall,
			step: "starting userns-enter",
			hint: "Shorten the arguments and the environment, or raise the limit on descriptors (RLIMIT_NOFILE) for the stdio.",
		});
	}
}

/**
 * Calls a function while the descriptors 0, 1 and 2 that this process has closed are on /dev/null. Otherwise the control socket
 * takes such a number: the program inherits it as its standard stream, and Node ends with an assertion when it closes the socket
 * (uv__close() in libuv, since Node 22).
 */
function withStandardStreams<T>(run: () => T): T {
	const held: number[] = [];
	if ([0, 1, 2].every(isOpen)) return run();
	try {
		let fd = openNull();
		for (; fd !== undefined && fd <= 2; fd = openNull()) held.push(fd);
		if (fd !== undefined) closeSync(fd);
		return run();
	} finally {
		held.forEach(closeSync);
	}
}

/** Whether the descriptor is open. */
export function isOpen(fd: number): boolean {
	const copy = native().copy(fd);
	if (copy >= 0) native().close(copy);
	return copy !== ERRNO.EBADF;
}

/** Undefined if no descriptor is free, or if there is no /dev/null. */
function openNull(): number | undefined {
	try {
		return openSync("/dev/null", "r+");
	} catch {
		return undefined;
	}
}

/** The stdio option as child_process.spawn normalises it: a list with at least the three standard descriptors. */
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

/** Starts a program in a user namespace. Throws for wrong arguments, an ID that is not mapped and a missing program. */
export function spawnIn(
	target: EnterTarget,
	command: string,
	args: readonly string[],
	options: NamespaceSpawnOptions,
): ChildProcess {
	const { uid, gid, groups, unshare, join, noNewPrivs, keepSession, shell, argv0, stdio, ...others } =
		options;
	// A copy without a prototype, because the rest of a destructuring has Object.prototype.
	const rest = ownCopy(others);
	rest.env ??= ownEnvironment();
	const request = enterRequest("UserNamespace.spawn", options, target);
	if (keepSession && options.detached) {
		throw invalidArgument(
			"UserNamespace.spawn: keepSession and detached cannot be used together",
			"Leave out keepSession for a new session, or detached for the session of this process.",
		);
	}
	const called = shellCommand(command, args, options);
	refuseTraceable("ERR_USERNS_SPAWN", triedToRun(command));
	const joined = request.join && openJoined(triedToRun(command), target, request.join);
	try {
		const inside = isInside(joined);
		const programs = programsOf(called, rest.env, pathOf(rest.cwd), inside);
		const directory = inside ? (pathOf(rest.cwd) ?? "/") : "";
		if (inside) delete rest.cwd;
		const list = stdioList(stdio);
		const first = list.length;
		const passed = joined === undefined ? [] : [joined.fd];
		const own: SpawnOptions = { argv0: "userns-enter", stdio: [...list, target.fd, "pipe", ...passed] };
		const descriptors = {
			first,
			namespace: first,
			control: first + 1,
			process: joined === undefined ? undefined : first + 2,
		};
		const plan = {
			programs,
			argv: called.argv,
			directory,
			texts: "",
			join: joined?.flags ?? 0,
			keepSession: keepSession ?? false,
		};
		const argv = enterArguments(descriptors, request, plan);
		const child = start(command, argv, Object.assign(rest, own), first + 2 + passed.length);
		// The ChildProcess shows the caller's program and stdio, not userns-enter and its descriptors.
		Object.assign(child, { spawnfile: called.file, spawnargs: called.argv });
		const control = child.stdio?.[descriptors.control as 3] as Control | undefined;
		if (child.stdio !== undefined) (child.stdio as unknown as unknown[]).length = first;
		if (control != null) listen(child, control, called.shown, inside);
		return child;
	} finally {
		if (joined !== undefined) native().close(joined.fd);
	}
}

/** Whether the program is in a mount namespace that it joins. */
export function isInside(joined: JoinedProcess | undefined): boolean {
	return joined !== undefined && (joined.flags & CLONE_NEW.mount) !== 0;
}

/** The paths at which userns-enter looks for the program. Those of a joined mount namespace are not looked up outside. */
export function programsOf(
	called: Command,
	env: NodeJS.ProcessEnv,
	cwd: string | undefined,
	inside: boolean,
): string[] {
	return inside ? programPaths(called.file, env) : [findCommand(called, env, cwd)];
}

function pathOf(cwd: string | URL | null | undefined): string | undefined {
	return cwd instanceof URL ? fileURLToPath(cwd) : (cwd ?? undefined);
}

/**
 * The socket closes without data when the program is executed; data is the step that failed. The socket is closed here as
 * soon as the result is known, at the latest before the caller's `exit` listeners run. If those started the next programs
 * first, libuv would keep handling exits without reading a socket in between (uv__signal_event() in libuv).
 */
function listen(child: ChildProcess, control: Control, shown: string, inside: boolean): void {
	const finish = (words: string) => {
		control.destroy();
		const failure = parseAnswer(words);
		if (failure !== undefined) child.emit("error", enterError(shown, failure, inside ? "joined" : "here"));
	};
	control.on("error", () => {});
	// The event comes with the text, which userns-enter writes with one call, or with the end. `end` would need a flowing stream.
	control.on("readable", () => finish(String(control.read() ?? "")));
	child.once("exit", (status) => {
		if (control.destroyed) return;
		const words = status === 0 ? "" : unread(control); // userns-enter never exits with 0 after a failure
		if (words !== undefined) finish(words); // otherwise with the event
	});
}

/** The parent's end of the control socket, with the undocumented handle of Node's streams, which Bun and Deno have too. */
interface Control extends Readable {
	readonly _handle?: { readonly fd?: number } | null;
}

/** More than "STEP ERRNO" has. */
const ANSWER_BYTES = 64;

/**
 * Reads the data in the socket; undefined if its descriptor is not known. It does not wait, because the runtime makes the socket
 * non-blocking. The add-on reads, because node:fs of Deno accepts only the descriptors that it has opened.
 */
function unread({ _handle }: Control): string | undefined {
	const fd = _handle?.fd;
	if (fd === undefined || fd < 0) return undefined;
	const { bytes } = native().readPiece(fd, ANSWER_BYTES, false);
	return bytes === undefined ? "" : Buffer.from(bytes).toString("latin1");
}
