import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { ask, type ScriptOptions } from "./child.ts";
import { SLOWER } from "./slower.ts";

const isRoot = process.geteuid?.() === 0;

/** A fresh ordinary user, as the test describes it. */
export interface UserSetup {
	/** The login name, or null for a uid without an entry in the user database. */
	name?: string | null;
	/**
	 * The whole contents of /etc/subuid and /etc/subgid. By default 65,536 IDs from 200,000 on. "UID" stands for the
	 * number.
	 */
	subuid?: readonly string[];
	subgid?: readonly string[];
	/** Commands of root in the mount namespace that the script gets; `$user` is the uid. */
	before?: string;
	/** The PATH of the script. */
	path?: string;
	/** The script runs as root, with these files. */
	asRoot?: boolean;
	/** Capabilities that the bounding set loses, such as "-setuid". */
	bounding?: string;
	/** Programs between setpriv(1) and the script. */
	through?: readonly string[];
}

export interface OrdinaryUser {
	readonly uid: number;
	readonly options: ScriptOptions;
}

const NAME = "userns-tester";
let made = 0;

/**
 * The user exists only in a mount namespace that ends with the script: an overlay on /etc, and a tmpfs at /mnt for the
 * files of `before`. The machine stays unchanged, even if the test is killed.
 */
const SETUP = `set -e
mount -t tmpfs -o mode=0755 userns-test /mnt
mkdir /mnt/upper /mnt/work /mnt/bin
mount -t overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work userns-test /etc
user=$USERNS_TEST_UID
if [ -n "$USERNS_TEST_PASSWD" ]; then
	printf '%s\\n' "$USERNS_TEST_PASSWD" >> /etc/passwd
	printf 'userns-tester:x:%s:\\n' "$user" >> /etc/group
fi
printf '%s' "$USERNS_TEST_SUBUID" > /etc/subuid
printf '%s' "$USERNS_TEST_SUBGID" > /etc/subgid
eval "$USERNS_TEST_BEFORE"
PATH=$USERNS_TEST_PATH
export PATH
bounding=--bounding-set=$USERNS_TEST_BOUNDING
[ -n "$USERNS_TEST_AS_ROOT" ] && exec /usr/bin/setpriv "$bounding" -- "$@"
exec /usr/bin/setpriv "$bounding" "--reuid=$user" "--regid=$user" --clear-groups -- "$@"`;

/** A uid that no other test of this process has. */
function freshUid(): number {
	return 1_000_000 + process.pid * 64 + (made++ % 64);
}

function lines(list: readonly string[], uid: number): string {
	return list.map((line) => `${line.replace("UID", String(uid))}\n`).join("");
}

/** For runScript: the script runs as that user. Needs root. */
export function freshUser(setup: UserSetup = {}): OrdinaryUser {
	const uid = freshUid();
	const { name = NAME, before = "", path = process.env.PATH ?? "", through = [] } = setup;
	const ranges = [`${name ?? uid}:200000:65536`];
	return {
		uid,
		options: {
			prefix: ["unshare", "--mount", "--propagation", "private", "sh", "-c", SETUP, "sh", ...through],
			env: {
				USERNS_TEST_UID: String(uid),
				USERNS_TEST_PASSWD: name === null ? "" : `${name}:x:${uid}:${uid}::/nonexistent:/bin/sh`,
				USERNS_TEST_SUBUID: lines(setup.subuid ?? ranges, uid),
				USERNS_TEST_SUBGID: lines(setup.subgid ?? ranges, uid),
				USERNS_TEST_AS_ROOT: setup.asRoot ? "1" : "",
				USERNS_TEST_BOUNDING: setup.bounding ?? "+all",
				USERNS_TEST_BEFORE: before,
				USERNS_TEST_PATH: path,
			},
		},
	};
}

/** As `ask`, and asserts that no process of that user is left, neither newuidmap nor a zombie. */
export function askAs<T>(user: OrdinaryUser, body: string): T {
	const answer = ask<T>(body, user.options);
	let left = processesOf(user.uid);
	// A process that a program of the script left may take a moment to end.
	for (let i = 0; i < 100 * SLOWER && left.length > 0; i++) {
		Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
		left = processesOf(user.uid);
	}
	if (left.length > 0) throw new Error(`processes are left: ${left.join("; ")}`);
	return answer;
}

/** Runs as the user that runs the tests if that is an ordinary user with subordinate IDs; otherwise as a fresh one. */
export function askOrdinary<T>(body: string): T {
	return isRoot ? askAs(freshUser(), body) : ask<T>(body);
}

/** The processes with that real uid, zombies included. */
export function processesOf(uid: number): string[] {
	return readdirSync("/proc").flatMap((pid) => {
		if (!/^\d+$/.test(pid)) return [];
		try {
			const status = readFileSync(`/proc/${pid}/status`, "utf8");
			return new RegExp(`^Uid:\\t${uid}\\t`, "m").test(status)
				? [`${pid} ${/^Name:\t(.*)$/m.exec(status)?.[1]} ${/^State:\t(.*)$/m.exec(status)?.[1]}`]
				: [];
		} catch {
			return []; // it ended meanwhile
		}
	});
}

/** Why no ordinary user with subordinate IDs can exist here, or undefined. */
export function noOrdinaryUser(): string | undefined {
	for (const tool of ["newuidmap", "newgidmap"]) {
		if (spawnSync("sh", ["-c", `command -v ${tool}`], { stdio: "ignore" }).status !== 0) {
			return `${tool} is not installed`;
		}
	}
	if (isRoot) {
		const { prefix, env } = freshUser().options;
		const [program = "", ...args] = [...(prefix ?? []), "true"];
		const { status, stderr } = spawnSync(program, args, {
			encoding: "utf8",
			env: { ...process.env, ...env },
		});
		return status === 0 ? undefined : `no ordinary user can be made: ${stderr?.trim() || `no ${program}`}`;
	}
	const names = [process.env.USER, String(process.getuid?.())];
	for (const file of ["/etc/subuid", "/etc/subgid"]) {
		const has = readFileSync(file, "utf8")
			.split("\n")
			.some((line) => names.includes(line.split(":")[0]));
		if (!has) return `this user has no line in ${file}`;
	}
	return undefined;
}
