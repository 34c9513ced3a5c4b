import {
	type SpawnSyncOptionsWithStringEncoding,
	type SpawnSyncReturns,
	spawnSync,
} from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import { ownCopy, ownValue } from "./options.ts";

/** How long a program that asks a directory service may take; the caller waits for it. */
const LOOKUP_MS = 10_000;

/** Runs such a program and returns its standard output alone. */
export function lookUp(program: string, args: readonly string[]): SpawnSyncReturns<string> {
	// Passes copies without a prototype, because child_process reads inherited options and variables.
	const options: SpawnSyncOptionsWithStringEncoding = {
		encoding: "utf8",
		stdio: ["ignore", "pipe", "ignore"],
		timeout: LOOKUP_MS,
		env: ownCopy(process.env),
	};
	return spawnSync(program, args, ownCopy(options));
}

/** Where execvp(3) looks when there is no PATH. */
const DEFAULT_PATH = "/usr/bin:/bin";

export interface Found {
	found: string;
	executable: boolean;
}

/**
 * The file that a program's name leads to, as execvp(3) finds it: a name with a slash as it is, another in the folders
 * of PATH. `found` is the first file of that name, with `executable` false when the caller may not execute any. What is
 * relative is so to `folder`, or to the working directory; the latter may be gone, and then only that is not found.
 */
export function findProgram(
	name: string,
	{ PATH = DEFAULT_PATH }: NodeJS.ProcessEnv = ownCopy(process.env),
	folder = ".",
): Found | undefined {
	const places = name.includes("/")
		? [name]
		: String(PATH)
				.split(":")
				.map((place) => join(place, name));
	return firstIn(places.flatMap((place) => absolute(folder, place) ?? []));
}

/**
 * Finds a program that this package itself runs, such as newuidmap. Searches only the absolute directories of PATH: an
 * empty or relative entry depends on the working directory, where a user with less privilege may have put a program.
 */
export function findOwnProgram(name: string): Found | undefined {
	const path = ownValue(process.env, "PATH") as string | undefined;
	return firstIn(
		(path ?? DEFAULT_PATH)
			.split(":")
			.filter(isAbsolute)
			.map((place) => join(place, name)),
	);
}

function firstIn(places: readonly string[]): Found | undefined {
	let barred: string | undefined;
	for (const place of places) {
		if (!isFile(place)) continue;
		try {
			accessSync(place, constants.X_OK);
			return { found: place, executable: true };
		} catch {
			barred ??= place;
		}
	}
	return barred === undefined ? undefined : { found: barred, executable: false };
}

/** Undefined when it takes the working directory, and that was deleted (getcwd(3), ENOENT). */
function absolute(folder: string, path: string): string | undefined {
	if (isAbsolute(path)) return path;
	try {
		return resolve(folder, path);
	} catch {
		return undefined;
	}
}

/** False too for what may not be looked at: root's folders stay in the PATH of who was root before. */
function isFile(path: string): boolean {
	try {
		return statSync(path).isFile();
	} catch {
		return false;
	}
}
