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
 * A mount without a map looks like any bind mount, so this package records those that it makes, by the unique mount ID,
 * which the kernel gives to no other mount until the next boot. A record is an empty file, so that other processes find
 * it too. If the directory cannot be written, only this process has the record, and a warning is emitted.
 */

const PARENT = "/run";
const FOLDER = "/run/userns";

const own = new Set<bigint>();

/**
 * The prefix of the names of this boot's records. A directory that survives a reboot has records of earlier boots too.
 */
function prefix(): string {
	return `${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}-`;
}

/** True for a directory in which only root can make files. */
function isRoots(path: string): boolean {
	const stats = lstatSync(path, { throwIfNoEntry: false });
	return stats?.isDirectory() === true && stats.uid === 0 && (stats.mode & 0o022) === 0;
}

/** Records a mount that has no map. Emits a warning if later only this process can recognise the mount. */
export function recordMount(uniqueId: bigint, where: string): void {
	if (uniqueId !== 0n) own.add(uniqueId);
	if (uniqueId !== 0n && writeRecord(uniqueId)) return; // 0 before Linux 6.8
	process.emitWarning(
		`The mount without a map at ${where} is not recorded, so another process must unmount it with umount(8): /run and /run/userns must belong to root, with mode 755.`,
		{ type: "UsernsWarning", code: "USERNS_UNRECORDED_MOUNT" },
	);
}

function writeRecord(uniqueId: bigint): boolean {
	try {
		if (!isRoots(PARENT)) return false;
		mkdirSync(FOLDER, { recursive: true, mode: 0o755 });
		if (!isRoots(FOLDER)) return false;
		const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
		closeSync(openSync(`${FOLDER}/${prefix()}${uniqueId}`, flags, 0o644));
		return true;
	} catch {
		return false; // not root, or /run is read-only
	}
}

/** Removes the record of a mount that was unmounted. */
export function removeRecord(uniqueId: bigint): void {
	own.delete(uniqueId);
	try {
		if (isRoots(PARENT) && isRoots(FOLDER)) unlinkSync(`${FOLDER}/${prefix()}${uniqueId}`);
	} catch {
		// There was no record.
	}
}

/** The unique IDs of the recorded mounts. Some of these mounts may no longer exist. */
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
		// No directory: nothing was recorded.
	}
	return all;
}
