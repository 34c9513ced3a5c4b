import {
	type SpawnSyncOptionsWithStringEncoding,
	type SpawnSyncReturns,
	spawnSync,
} from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { ownCopy, ownEnvironment, ownValue } from "./options.ts";
import { refuseDenied } from "./permission.ts";

/** The timeout of a program that queries a directory service, in milliseconds. The caller blocks for that long. */
const LOOKUP_TIMEOUT = 10_000;

/** Runs a program that looks something up, without standard input, and reads its output. */
export function lookUp(program: string, args: readonly string[]): SpawnSyncReturns<string> {
	// Passes copies without a prototype, because child_process reads inherited options and variables.
	const options: SpawnSyncOptionsWithStringEncoding = {
		encoding: "utf8",
		stdio: ["ignore", "pipe", "pipe"],
		timeout: LOOKUP_TIMEOUT,
		env: ownEnvironment(),
	};
	try {
		return spawnSync(program, args, ownCopy(options));
	} catch (error) {
		refuseDenied(error, program);
		throw error;
	}
}

/** The directories that execvp(3) searches if PATH is unset. */
export const DEFAULT_PATH = "/usr/bin:/bin";

export interface Found {
	found: string;
	executable: boolean;
}

/**
 * Finds the file of a program as execvp(3) does: a name with a slash is a path, any other name is searched in the
 * directories of PATH. `found` is the first file that the caller may execute. If there is none, `found` is the first file
 * of that name, and `executable` is false. Relative paths start at `folder`, or at the working directory. If the working
 * directory was deleted, relative paths lead to no file.
 */
export function findProgram(
	name: string,
	{ PATH = DEFAULT_PATH }: NodeJS.ProcessEnv = ownEnvironment(),
	folder = ".",
): Found | undefined {
	return firstFile(programPaths(name, { PATH }), folder);
}

/** The paths at which execvp(3) looks for a program. */
export function programPaths(name: string, { PATH = DEFAULT_PATH }: NodeJS.ProcessEnv): string[] {
	if (name.includes("/")) return [name];
	const directories = String(PATH).split(":");
	return directories.map((directory) => (directory === "" ? name : `${directory}/${name}`));
}

/**
 * Finds a program that this package itself runs, such as newuidmap. Searches only the absolute directories of PATH: an
 * empty or relative entry depends on the working directory, where a user with less privilege may have put a program.
 */
export function findOwnProgram(name: string): Found | undefined {
	return firstFile(ownPaths(name));
}

/** The files of all programs of that name in these directories that the caller may execute. */
export function findAllOwnPrograms(name: string): string[] {
	const all = ownPaths(name).map((path) => firstFile([path]));
	return all.flatMap((each) => (each?.executable ? [each.found] : []));
}

function ownPaths(name: string): string[] {
	const path = ownValue(process.env, "PATH") as string | undefined;
	return (path ?? DEFAULT_PATH)
		.split(":")
		.filter(isAbsolute)
		.map((directory) => `${directory}/${name}`);
}

function firstFile(paths: readonly string[], folder = "/"): Found | undefined {
	let notExecutable: string | undefined;
	const denied: [error: unknown, path: string][] = [];
	for (const each of paths) {
		const path = absolute(folder, each);
		if (path === undefined || !isFile(path, denied)) continue;
		try {
			accessSync(path, constants.X_OK);
			return { found: path, executable: true };
		} catch (error) {
			denied.push([error, path]);
			notExecutable ??= path;
		}
	}
	// A directory that Node's permission model hides counts only if the program is in no other one.
	for (const [error, path] of denied) refuseDenied(error, path);
	return notExecutable === undefined ? undefined : { found: notExecutable, executable: false };
}

/** Undefined for a relative path if the working directory was deleted (getcwd(3), ENOENT). */
function absolute(folder: string, path: string): string | undefined {
	if (isAbsolute(path)) return path;
	try {
		return resolve(folder, path);
	} catch {
		return undefined;
	}
}

/** False also for a path that stat(2) may not follow: PATH can still have root's directories after setuid(2). */
function isFile(path: string, denied: [error: unknown, path: string][]): boolean {
	try {
		// Most directories of PATH lack the program. An error for each of them would take longer than the system calls.
		return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
	} catch (error) {
		denied.push([error, path]);
		return false;
	}
}
