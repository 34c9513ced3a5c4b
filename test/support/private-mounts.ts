import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { SLOWER } from "./slower.ts";

/** An ordinary user with a name and subordinate IDs, who exists in the mount namespaces of `privateMounts` alone. */
export const USER = { name: "userns-clients", uid: 54322, first: 2_000_000, size: 1000 } as const;

/** What {@link privateMounts} mounts before the program starts. */
export interface PrivateMounts {
	/**
	 * Only cgroup2 at /sys/fs/cgroup, because crun 1.8.1 refuses a tree of both kinds. And an empty /run, where
	 * runtimes keep their state by default.
	 */
	cgroup2?: boolean;
	/** A folder that `makeUser` wrote: the program runs as USER. */
	user?: string;
	/** The program runs with this uid and gid. */
	uid?: number;
}

/**
 * cgroup2 can be mounted once at one place: on a machine without the old version of cgroups it is there already.
 * $1: the folder of makeUser or nothing, $2: "cgroup2" or nothing, $3: the uid and gid; then the program.
 */
const SCRIPT = `
[ -z "$1" ] || for file in passwd group subuid subgid; do mount --bind "$1/$file" "/etc/$file" || exit 125; done
[ -z "$2" ] || [ -e /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 125
[ -z "$2" ] || mount -t tmpfs -o mode=755 run /run || exit 125
uid=$3
shift 3
[ -z "$uid" ] || exec setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"
exec "$@"`;

/**
 * The command before a program that runs it in its own mount namespace. Its mounts, and its user, end with that
 * namespace, and the machine stays unchanged.
 */
export function privateMounts({ cgroup2 = false, user, uid }: PrivateMounts): string[] {
	const who = uid ?? (user === undefined ? "" : USER.uid);
	const unshare = ["unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"];
	return [...unshare, user ?? "", cgroup2 ? "cgroup2" : "", String(who)];
}

/** $1: the cgroup; then the program. Folders in which engines keep files are empty for it. */
const CONTAINED = `
for folder in /var/tmp /var/lib/containers /var/lib/lxc; do
	[ ! -d "$folder" ] || mount -t tmpfs -o mode=1777 userns-test "$folder" || exit 125
done
cgroup=/sys/fs/cgroup/$1
mkdir "$cgroup" && echo $$ > "$cgroup/cgroup.procs" || exit 125
shift
"$@"
status=$?
echo $$ > /sys/fs/cgroup/cgroup.procs
for _ in 1 2 3 4 5 6 7 8 9; do
	find "$cgroup" -depth -type d -exec rmdir {} \\; 2>&-
	[ -d "$cgroup" ] || exit $status
	sleep 0.2
done
echo "$cgroup is busy" >&2
exit 126`;

/** The command before an engine of containers: its own mount namespace, and a cgroup with this name that ends with it. */
export function inCgroup(name: string): string[] {
	return [...privateMounts({ cgroup2: true }), "sh", "-c", CONTAINED, "sh", name];
}

/** Writes copies of the user database with USER added, for `privateMounts`. */
export function makeUser(folder: string): string {
	const { name, uid, first, size } = USER;
	const lines = {
		passwd: `${name}:x:${uid}:${uid}::/nonexistent:/bin/sh`,
		group: `${name}:x:${uid}:`,
		subuid: `${name}:${first}:${size}`,
		subgid: `${name}:${first}:${size}`,
	};
	const copies = join(folder, "etc");
	mkdirSync(copies);
	for (const [file, line] of Object.entries(lines)) {
		const text = readFileSync(join("/etc", file), "utf8");
		writeFileSync(join(copies, file), `${text}${text === "" || text.endsWith("\n") ? "" : "\n"}${line}\n`);
	}
	return copies;
}

export interface Ended {
	status: number | null;
	stdout: string;
	stderr: string;
}

/** Runs a program to its end, or kills it after 30 seconds. Descriptor 3 is `fd`. */
export function runToEnd(command: readonly string[], fd?: number): Ended {
	const [program = "", ...args] = command;
	const { error, status, stdout, stderr } = spawnSync(program, args, {
		encoding: "utf8",
		stdio: ["ignore", "pipe", "pipe", ...(fd === undefined ? [] : [fd])],
		timeout: 30_000 * SLOWER,
		killSignal: "SIGKILL",
	});
	if (error) throw error;
	return { status, stdout, stderr };
}

/** The processes in a user namespace, by /proc. An orphan that only awaits its reap by init has ended. */
export function processesIn(inode: number): string[] {
	return readdirSync("/proc").filter((pid) => {
		if (!/^\d+$/.test(pid)) return false;
		try {
			if (readlinkSync(`/proc/${pid}/ns/user`) !== `user:[${inode}]`) return false;
			return !/^State:\s*Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
		} catch {
			return false; // it has ended
		}
	});
}

/** Waits until no process is in a user namespace. Returns those that are there after five seconds. */
export async function emptied(inode: number): Promise<string[]> {
	for (let i = 0; i < 100 * SLOWER && processesIn(inode).length > 0; i++) await sleep(50);
	return processesIn(inode);
}
