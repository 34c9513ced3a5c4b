// Folders that are made once and kept outside of the project.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** The folder of everything that is kept: USERNS_CACHE, or one below the user's own cache. */
export const CACHE =
	process.env.USERNS_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "userns-kernels");

/** Returns the folder NAME-VERSION. If there is none, makes it with `make`, and removes those of other versions. */
export function makeOnce(cache, name, version, make) {
	const made = join(cache, `${name}-${version}`);
	if (existsSync(made)) return made;
	mkdirSync(cache, { recursive: true });
	const fresh = mkdtempSync(join(cache, "new-"));
	const leave = () => rmSync(fresh, { recursive: true, force: true });
	process.on("exit", leave);
	make(fresh);
	for (const old of readdirSync(cache)) {
		if (old.startsWith(`${name}-`)) rmSync(join(cache, old), { recursive: true });
	}
	renameSync(fresh, made);
	process.off("exit", leave);
	return made;
}
