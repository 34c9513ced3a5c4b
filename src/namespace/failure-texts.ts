import { invalidArgument, show, type UsernsError } from "../errors.ts";
import { CLONE_NEW } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { ownCopy } from "../options.ts";
import type { FailureText } from "./enter-options.ts";
import { enterError } from "./enter-program.ts";
import type { EnterRequest } from "./enter-request.ts";

/*
 * The texts that userns-enter prints for a failure after it has replaced Node.js: TEXTS in native/programs/userns-enter/main.c. They are
 * made before, with the hints that spawn() gives.
 */

/** The program, and what userns-enter does before it executes the program. */
interface Replacement {
	/** The program in messages. */
	shown: string;
	where: "here" | "joined";
	request: EnterRequest;
	/** The namespaces to join: CLONE_NEW… flags. */
	join: number;
	/** The working directory, or empty. */
	directory: string;
}

const { EPERM, EINVAL, ENOMEM, ENOSYS, ENOSPC, EAGAIN, EMFILE, ESRCH, ESTALE } = ERRNO;
const { ENOENT, ENOTDIR, EACCES, ELOOP, EXDEV, E2BIG, ENOEXEC, ETXTBSY } = ERRNO;

/** The steps of userns-enter, with the errnos for which a text is made. The others share a text with the number. */
const STEPS: Readonly<Record<string, readonly number[]>> = {
	prctl: [],
	descriptors: [EMFILE],
	close_range: [ENOSYS],
	setsid: [],
	setgroups: [EPERM],
	setns: [EPERM, EINVAL, ENOSYS],
	join: [EPERM, EINVAL, ENOSYS, ESRCH],
	moved: [ESTALE],
	unshare: [EPERM, EINVAL, ENOSYS, ENOSPC],
	loopback: [EPERM, EMFILE],
	mount: [EPERM, EACCES],
	setgid: [EPERM, EINVAL],
	setuid: [EPERM, EINVAL, EAGAIN],
	pipe: [EMFILE],
	fork: [EAGAIN, ENOMEM],
	capset: [EPERM],
	chdir: [ENOENT, ENOTDIR, EACCES, ELOOP, EXDEV],
	no_new_privs: [],
	execve: [EPERM, ENOENT, ENOTDIR, EACCES, ELOOP, E2BIG, ENOEXEC, ENOMEM, ETXTBSY],
};

/**
 * The steps that userns-enter does not make. The hint for a refusal tries the call, and a filter may answer that with the end of this
 * process; without the call, the program would have been executed.
 */
function leftOut({ request: { uid, unshare, noNewPrivs }, join, directory }: Replacement): Set<string> {
	const has = (flags: number) => (unshare & flags) !== 0;
	const inChild = has(CLONE_NEW.pid | CLONE_NEW.time) || (join & CLONE_NEW.pid) !== 0;
	const steps = {
		setns: join === 0,
		join: join !== 0,
		moved: join !== 0,
		unshare: unshare !== 0,
		loopback: has(CLONE_NEW.net),
		mount: has(CLONE_NEW.mount),
		pipe: inChild,
		fork: inChild,
		capset: uid !== 0,
		chdir: directory !== "",
		no_new_privs: noNewPrivs,
	};
	return new Set(Object.entries(steps).flatMap(([step, made]) => (made ? [] : [step])));
}

/** The ends of a field and of a record, and the place of the number of an error (native/programs/userns-enter/arguments.c). */
const [FIELD, RECORD, NUMBER] = ["\x1f", "\x1e", "\x1d"];

/** MAX_ARG_STRLEN for pages of 4 KiB, without the NUL: they are one argument of userns-enter. */
const MOST_BYTES = 32 * 4096 - 1;

function usual({ message, hint }: UsernsError): FailureText {
	return { stderr: `${message}\n${hint === undefined ? "" : `hint: ${hint}\n`}` };
}

/** All records, in one argument. */
export function failureTexts(
	replacement: Replacement,
	failureText: (error: UsernsError) => FailureText = usual,
): string {
	const { shown, where } = replacement;
	const fields = (step: string, error: number) => {
		const text = failureText(enterError(shown, { step: `enter ${step}`, error }, where));
		if (typeof text !== "object" || text === null || text instanceof Promise) throw wrongText(text);
		const { stdout = "", stderr = "" } = ownCopy(text);
		return [stdout, stderr].map(checked).join(FIELD);
	};
	const left = leftOut(replacement);
	const number = freeNumber(fields("prctl", EPERM));
	const records = Object.entries(STEPS)
		.filter(([step]) => !left.has(step))
		.flatMap(([step, errnos]) => [
			...errnos.map((error) => `${step} ${-error}${FIELD}${fields(step, error)}`),
			`${step}${FIELD}${fields(step, -number).replaceAll(String(number), NUMBER)}`,
		]);
	const texts = records.join(RECORD);
	if (Buffer.byteLength(texts) <= MOST_BYTES) return texts;
	throw invalidArgument(
		`UserNamespace.exec: the texts of failureText for ${records.length} failures have more than ${MOST_BYTES} bytes together`,
		"Return shorter texts.",
	);
}

/** A number that the text does not contain: larger than every errno of Linux, and smaller than those of libuv's own errors. */
function freeNumber(text: string): number {
	let number = 2999;
	while (text.includes(String(number))) number--;
	return number;
}

function checked(text: unknown): string {
	if (typeof text !== "string") throw wrongText(text);
	return [FIELD, RECORD, NUMBER, "\0"].reduce((all, sign) => all.replaceAll(sign, "?"), text);
}

function wrongText(text: unknown): UsernsError {
	return invalidArgument(
		`UserNamespace.exec: failureText must return an object with the strings stdout and stderr, not ${text instanceof Promise ? "a promise" : show(text)}`,
	);
}
