import { accessSync, constants, statSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";

/** Where execvp(3) looks when there is no PATH. */
const DEFAULT_PATH = "/usr/bin:/bin";

/**
 * The file that a program's name leads to, as execvp(3) finds it: a name with a slash as it is, another in the folders
 * of PATH. `found` is the first file of that name, with `executable` false when the caller may not execute any.
 */
export function findProgram(
	name: string,
	path: string | undefined = process.env.PATH,
	folder: string = process.cwd(),
): { found: string; executable: boolean } | undefined {
	const places = name.includes("/")
		? [isAbsolute(name) ? name : resolve(folder, name)]
		: (path ?? DEFAULT_PATH).split(":").map((place) => join(resolve(folder, place), name));
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

/** False too for what may not be looked at: root's folders stay in the PATH of who was root before. */
function isFile(path: string): boolean {
	try {
		return statSync(path).isFile();
	} catch {
		return false;
	}
}
