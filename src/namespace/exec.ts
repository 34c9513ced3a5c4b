import { readlinkSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { UsernsError } from "../errors.ts";
import { native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { ownEnvironment } from "../options.ts";
import type { NamespaceExecOptions } from "./enter-options.ts";
import { type Command, enterArguments, enterError, triedToRun } from "./enter-program.ts";
import { type EnterTarget, enterRequest } from "./enter-request.ts";
import { failureTexts } from "./failure-texts.ts";
import { openJoined } from "./join.ts";
import { isInside, isOpen, programsOf } from "./spawn.ts";
import { refuseTraceable } from "./sysctls.ts";

/** MAX_ARG_STRLEN for the largest pages: 32 times 64 KiB, without the NUL (WORD_BYTES in native/addon/arguments.c). */
const MOST_TEXT_BYTES = 32 * 65536 - 1;

/** Replaces this process by a program in a user namespace. `inherited` is the descriptor that userns-enter joins. */
export function execIn(
	target: EnterTarget,
	command: string,
	args: readonly string[],
	options: NamespaceExecOptions,
	inherited: number,
): never {
	const called: Command = { file: command, argv: [options.argv0 ?? command, ...args], shown: command };
	const tried = triedToRun(command);
	if (!isMainThread) {
		throw new UsernsError("ERR_USERNS_SPAWN", `${tried}: a worker cannot replace the process`, {
			hint: "Call exec on the main thread, or use spawn.",
		});
	}
	const env = options.env ?? ownEnvironment();
	const pairs = Object.entries(env).flatMap(([name, value]) =>
		value === undefined ? [] : [`${name}=${value}`],
	);
	// The kernel returns E2BIG for a longer argument. The add-on does not accept one.
	if ([...called.argv, ...pairs].some((text) => Buffer.byteLength(text) > MOST_TEXT_BYTES)) {
		throw enterError(command, { step: "enter program", error: ERRNO.E2BIG });
	}
	const request = enterRequest("UserNamespace.exec", options, target);
	const first = 3 + (options.preserveFds ?? 0);
	checkPreserved(tried, first, [target.fd, inherited]);
	refuseTraceable("ERR_USERNS_SPAWN", tried);
	const joined = request.join && openJoined(tried, target, request.join);
	try {
		const inside = isInside(joined);
		const programs = programsOf(called, env, options.cwd, inside);
		const descriptors = { first, namespace: inherited, control: undefined, process: joined?.fd };
		const directory = options.cwd ?? (inside ? "/" : "");
		const join = joined?.flags ?? 0;
		const texts = failureTexts(
			{ shown: command, where: inside ? "joined" : "here", request, join, directory },
			options.failureText,
		);
		const plan = { programs, argv: called.argv, directory, texts, join, keepSession: true };
		const argv = enterArguments(descriptors, request, plan);
		const fds = joined === undefined ? [inherited] : [inherited, joined.fd];
		const { step = "enter program", error } = native().execSelf(["userns-enter", ...argv], pairs, fds, first);
		throw enterError(command, { step, error });
	} finally {
		if (joined !== undefined) native().close(joined.fd);
	}
}

/**
 * Throws if one of the descriptors from 3 to `first` - 1 is closed, or is one that this process did not inherit: a descriptor of this
 * package, or of Node's event loop.
 */
function checkPreserved(tried: string, first: number, ours: readonly number[]): void {
	for (let fd = 3; fd < first; fd++) {
		if (isOpen(fd) && !ours.includes(fd) && !isEventLoop(fd)) continue;
		throw new UsernsError(
			"ERR_USERNS_DESCRIPTOR",
			`${tried}: the descriptor ${fd} was not passed to this process`,
			{
				step: "checking the descriptors to preserve",
				hint: `Open it in the shell that starts this process, such as "${fd}< FILE", or preserve fewer descriptors.`,
			},
		);
	}
}

function isEventLoop(fd: number): boolean {
	try {
		return /^anon_inode:\[(eventpoll|eventfd|io_uring)\]/.test(readlinkSync(`/proc/self/fd/${fd}`));
	} catch {
		return false; // /proc is not mounted
	}
}
