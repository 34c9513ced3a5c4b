import { randomBytes } from "node:crypto";
import type { Readable } from "node:stream";
import { ERRNO } from "../native/errno.ts";
import { ownCopy } from "../options.ts";
import { type EnterDescriptors, enterArguments, parseAnswer } from "./enter-program.ts";
import { start } from "./spawn.ts";
import { refuseTraceable } from "./sysctls.ts";

/*
 * Asks userns-enter what IDs may do with a file (native/programs/userns-enter/ask.c). Every call that a file system can hold up is made
 * in that process, which has a time limit.
 */

/** The IDs of a process, in a user namespace. Groups: undefined if the namespace denies setgroups(2). */
export interface ProcessIds {
	uid: number;
	gid: number;
	groups: readonly number[] | undefined;
}

export interface Question {
	/** O_PATH descriptors of the file and its directory. */
	file: number;
	directory: number;
	/** The directory in which `path` starts. Undefined: the root of this process. */
	root: number | undefined;
	/** Undefined: that of this process. */
	mountNs: number | undefined;
	/** Undefined: the user namespace of this process. */
	namespace: number | undefined;
	/** Undefined: those of this process. */
	ids: ProcessIds | undefined;
	/** The capabilities that a process with these IDs has. */
	kept: bigint;
	path: string;
}

/** What statx(2) shows to this process. */
export interface FileFacts {
	mode: number;
	uid: number;
	gid: number;
	/** STATX_ATTR_… */
	attributes: number;
	mountId: number;
}

/** Errors are 0 or a negative errno. */
export interface Answer {
	file: FileFacts;
	directory: FileFacts;
	/** The file system or its mount is read-only. */
	readonly: boolean;
	/** f_type of statfs(2), which is known for a mount of another mount namespace too. */
	fileSystem: number;
	/** The owner without the map of the mount; negative if it is not known. */
	disk: { uid: number; gid: number };
	/**
	 * 1: the file system belongs to a user namespace that maps every ID, as the initial one; 0: to another one; negative if that is not
	 * known.
	 */
	ofAll: number;
	read: number;
	write: number;
	execute: number;
	/** Writing and searching the directory. */
	remove: number;
	/** mknod(2) in the file, if it is a directory: EPERM if a file could be created. */
	create: number;
	/** The look-up of the path. */
	search: number;
	/** The length of the first part of the path that cannot be looked up. */
	searched: number;
	/** Whether the path led to the file. */
	same: boolean;
}

/** (uid_t) -1: setresuid(2) does not change the ID. */
const UNCHANGED = 0xffffffff;
const ANSWER_TIMEOUT_MS = 10_000;
const NUMBERS = 23;

/** Returns the answer, or the step that failed. Throws if the program cannot be started. */
export async function ask(question: Question): Promise<Answer | { step: string; error: number }> {
	const { file, directory, root, mountNs, namespace, ids, kept, path } = question;
	// A process whose IDs it takes must not get its descriptors, which the caller has opened.
	if (ids !== undefined) refuseTraceable("ERR_USERNS_EXPLAIN", "cannot ask the kernel");
	const optional = [root, mountNs].map((fd) => fd ?? ("ignore" as const));
	const first = 5 + optional.length;
	const descriptors: EnterDescriptors = {
		first,
		namespace: namespace === undefined ? undefined : first,
		control: 1,
		process: undefined,
	};
	const request = {
		uid: ids?.uid ?? UNCHANGED,
		gid: ids?.gid ?? UNCHANGED,
		groups: ids === undefined ? ("keep" as const) : ids.groups,
		unshare: 0,
		join: undefined,
		noNewPrivs: false,
	};
	const argv = [
		root === undefined ? "-" : "5",
		mountNs === undefined ? "-" : "6",
		`${kept & 0xffff_ffffn}`,
		`${kept >> 32n}`,
		`.userns-${randomBytes(8).toString("hex")}`,
		path,
	];
	const plan = { programs: [""], argv, directory: "", texts: "", join: 0, keepSession: true };
	const stdio = ["ignore" as const, "pipe" as const, "ignore" as const, file, directory, ...optional];
	const child = start(
		"userns-enter",
		enterArguments(descriptors, request, plan),
		ownCopy({
			argv0: "userns-enter",
			env: Object.create(null),
			stdio: namespace === undefined ? stdio : [...stdio, namespace],
		}),
		first + 1,
	);
	return new Promise((resolve, reject) => {
		const stdout = child.stdout as Readable;
		let text = "";
		const timer = setTimeout(() => {
			child.kill("SIGKILL");
			// It may not end: its system call can wait in the kernel.
			child.unref();
			stdout.destroy();
			resolve({ step: "enter ask", error: ERRNO.ETIMEDOUT });
		}, ANSWER_TIMEOUT_MS);
		stdout.setEncoding("latin1").on("data", (piece: string) => {
			text += piece;
		});
		child.once("error", (error) => {
			clearTimeout(timer);
			reject(error);
		});
		child.once("close", () => {
			clearTimeout(timer);
			resolve(parse(text));
		});
	});
}

function parse(text: string): Answer | { step: string; error: number } {
	const words = /[a-z_]+ \d+$/.exec(text)?.[0] ?? "";
	const failed = parseAnswer(words);
	if (failed !== undefined) return failed;
	const numbers = text.trim().split(" ").map(Number);
	if (numbers.length !== NUMBERS || numbers.some(Number.isNaN))
		return { step: "enter ask", error: ERRNO.EPROTO };
	const next = () => numbers.shift() as number;
	const facts = () => ({ mode: next(), uid: next(), gid: next(), attributes: next(), mountId: next() });
	// In the order in which ask.c writes them.
	return {
		file: facts(),
		directory: facts(),
		readonly: next() === 1,
		fileSystem: next(),
		disk: { uid: next(), gid: next() },
		ofAll: next(),
		read: next(),
		write: next(),
		execute: next(),
		remove: next(),
		create: next(),
		search: next(),
		searched: next(),
		same: next() === 1,
	};
}
