import {
	closeSync,
	constants,
	lstatSync,
	mkdirSync,
	openSync,
	readdirSync,
	readFileSync,
	unlinkSync,
} from "node:fs";

/*
 * A mount without a map looks as any bind mount does, so that what this package made is recorded: by its unique mount ID, which the
 * kernel gives to no other mount until the next boot. A record is an empty file, so that another process finds it too. Where the
 * folder cannot be written, the record is this process's alone.
 */

const PARENT = "/run";
const FOLDER = "/run/userns";

const own = new Set<bigint>();

/** What the names of this boot's records begin with; a folder that outlives a boot has those of earlier ones too. */
function prefix(): string {
	return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}-`;
}

/** True for a directory that nobody but root can put a file in. */
function isRoots(path: string): boolean {
	const stats = lstatSync(path, { throwIfNoEntry: false });
	return stats?.isDirectory() === true && stats.uid === 0 && (stats.mode & 0o022) === 0;
}

/** Records a mount that has no map. */
export function recordMount(uniqueId: bigint): void {
	if (uniqueId === 0n) return; // before Linux 6.8
	own.add(uniqueId);
	try {
		if (!isRoots(PARENT)) return;
		mkdirSync(FOLDER, { recursive: true, mode: 0o755 });
		if (!isRoots(FOLDER)) return;
		const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
		closeSync(openSync(`${FOLDER}/${prefix()}${uniqueId}`, flags, 0o644));
	} catch {
		// Not root, or a read-only /run.
	}
}

/** The mount is gone. */
export function forgetMount(uniqueId: bigint): void {
	own.delete(uniqueId);
	try {
		if (isRoots(PARENT) && isRoots(FOLDER)) unlinkSync(`${FOLDER}/${prefix()}${uniqueId}`);
	} catch {
		// There was none.
	}
}

/** The unique IDs of the mounts that were recorded. Some may be gone. */
export function recordedMounts(): ReadonlySet<bigint> {
	const all = new Set(own);
	try {
		if (!isRoots(PARENT) || !isRoots(FOLDER)) return all;
		const start = prefix();
		for (const name of readdirSync(FOLDER)) {
			const [, number] = /^(\d{1,20})$/.exec(name.startsWith(start) ? name.slice(start.length) : "") ?? [];
			if (number !== undefined) all.add(BigInt(number));
		}
	} catch {
		// No folder: nothing was recorded.
	}
	return all;
}
