import { readFileSync, realpathSync, statSync } from "node:fs";

/** The text of a file in /proc without the blanks at its ends; undefined if it cannot be read. */
export function readText(file: string): string | undefined {
	try {
		// As UTF-8, because with another encoding Node 20 leaks the descriptor if fstat(2) fails.
		return readFileSync(file, "utf8").trim();
	} catch {
		return undefined;
	}
}

/** The field of a thread's status file (proc_pid_status(5)); undefined without the file or the field. */
export function statusField(status: string | undefined, name: string): string | undefined {
	return new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status ?? "")?.[1];
}

/** The status of the calling thread: each thread has its own capabilities and its own seccomp filters. */
export const STATUS = "/proc/thread-self/status";

export const MOUNT_PROC =
	"Mount a procfs of this process's pid namespace at /proc: this process is not in the one that is there, or none is.";

/** Whether /proc is missing, or that of a pid namespace in which this process is not. False if Node's permission model hides it. */
export function lacksProc(): boolean {
	try {
		statSync("/proc/self/ns/user");
		return false;
	} catch (error) {
		return (error as NodeJS.ErrnoException).code === "ENOENT";
	}
}

/** Whether a file is on a mount with the option: on the last one of the longest mount point above it. False if that cannot be read. */
export function hasMountOption(file: string, option: string): boolean {
	try {
		const path = realpathSync(file);
		let [length, found] = [0, false];
		for (const line of readFileSync("/proc/self/mountinfo", "utf8").split("\n")) {
			const [, , , , point = "", options = ""] = line.split(" ");
			const plain = point.replace(/\\([0-7]{3})/g, (_, octal) =>
				String.fromCharCode(Number.parseInt(octal, 8)),
			);
			const folder = plain.endsWith("/") ? plain : `${plain}/`;
			if (!path.startsWith(folder) || folder.length < length) continue;
			[length, found] = [folder.length, options.split(",").includes(option)];
		}
		return found;
	} catch {
		return false;
	}
}
