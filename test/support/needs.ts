import { spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { noHostIds } from "./ids.ts";
import { noOrdinaryUser } from "./ordinary.ts";

/** Looks for one thing that a test can need; answers why it is not there, or undefined when it is. */
const checks: Record<string, () => string | undefined> = {
	linux: () => (process.platform === "linux" ? undefined : "this is not Linux"),
	root: () => (process.geteuid?.() === 0 ? undefined : "not run as root"),
	/**
	 * Set by scripts/test.mjs when it made a mount namespace for the tests, so that no mount can outlive them; and what
	 * test/support/mounts.ts runs.
	 */
	mounts: () =>
		process.env.USERNS_PRIVATE_MOUNTS === "1"
			? firstReason("tool:mount", "tool:umount", ...(olderThan("6.3") ? EXT4 : []))
			: "no mount namespace of its own (needs root)",
	/** By Node itself, and by setpriv(1), which test/support/private-mounts.ts runs. */
	user: () =>
		spawnSync("true", { uid: OTHER_UID, gid: OTHER_UID }).status === 0
			? firstReason("tool:setpriv")
			: "cannot become another user",
	/** The host IDs of the tests: root has them, and an ordinary user with newuidmap and a wide range. */
	ids: () => noHostIds ?? (process.geteuid?.() === 0 ? undefined : noOrdinaryUser()),
	/** An ordinary user with subordinate IDs: who runs the tests, or one that root makes. */
	ordinary: noOrdinaryUser,
	/** A program for root file systems without a C library in them. */
	busybox: () => {
		const path = spawnSync("sh", ["-c", "command -v busybox"], { encoding: "utf8" }).stdout.trim();
		if (path === "") return "busybox is not installed";
		// The dynamic loader's path, in the first pages of a program that needs one.
		const isDynamic = readFileSync(path).subarray(0, 8192).includes("/ld-");
		return isDynamic ? "busybox is linked dynamically (Debian has busybox-static)" : undefined;
	},
	/** A compiler with the run-time libraries of AddressSanitizer and UndefinedBehaviorSanitizer. */
	sanitizers: () => {
		const flags = ["-fsanitize=address,undefined", "-x", "c", "-", "-o", "/dev/null"];
		const { status } = spawnSync("cc", flags, { input: "int main(void) { return 0; }", stdio: "pipe" });
		return status === 0 ? undefined : "cc has no AddressSanitizer";
	},
	/** A compiler with a static C library. */
	static: () => {
		const flags = ["-static", "-x", "c", "-", "-o", "/dev/null"];
		const { status } = spawnSync("cc", flags, { input: "int main(void) { return 0; }", stdio: "pipe" });
		return status === 0 ? undefined : "cc has no static C library";
	},
	loop: () => (canOpen("/dev/loop-control") ? undefined : "no loop devices"),
};

/** What the tests map where the kernel cannot map a tmpfs. */
const EXT4 = ["loop", "fs:ext4", "tool:mkfs.ext4"] as const;

/** An ordinary user's IDs, without a name: nothing on the machine has to be changed for it. */
export const OTHER_UID = 54321;

export type Need =
	| "linux"
	| "root"
	| "mounts"
	| "user"
	| "ids"
	| "ordinary"
	| "loop"
	| "busybox"
	| "sanitizers"
	| "static"
	| `tool:${string}`
	| `path:${string}`
	| `fs:${string}`
	| `linux:${string}`;

/** Whether this kernel is that old, such as "6.15"; by its number, since the tests ask whether what came with it works. */
export function olderThan(version: string): string | undefined {
	const [major = 0, minor = 0] = release().split(".").map(Number.parseFloat);
	const [wantedMajor = 0, wantedMinor = 0] = version.split(".").map(Number);
	const old = major < wantedMajor || (major === wantedMajor && minor < wantedMinor);
	return old ? `this is Linux ${release()}, and ${version} is needed` : undefined;
}

function isKnown(fileSystem: string): boolean {
	return readFileSync("/proc/filesystems", "utf8")
		.split("\n")
		.some((line) => line.split("\t")[1] === fileSystem);
}

/** Whether the kernel knows a file system; asked to load the module when it does not. */
function missingFileSystem(name: string): string | undefined {
	if (process.platform !== "linux") return "this is not Linux";
	if (!isKnown(name)) spawnSync("modprobe", ["--quiet", name], { stdio: "ignore" });
	if (!isKnown(name)) return `the kernel has no ${name}, and modprobe brought none`;
	return name === "fuse" && !canOpen("/dev/fuse") ? "/dev/fuse cannot be opened" : undefined;
}

/** Whether a device is there and works: a container's device cgroup refuses the open(2) of one that it shows. */
function canOpen(device: string): boolean {
	try {
		closeSync(openSync(device, "r+"));
		return true;
	} catch {
		return false;
	}
}

function missing(need: Need): string | undefined {
	if (need.startsWith("tool:")) {
		const tool = need.slice("tool:".length);
		const found = spawnSync("sh", ["-c", 'command -v "$1"', "sh", tool], { stdio: "ignore" }).status === 0;
		return found ? undefined : `${tool} is not installed`;
	}
	if (need.startsWith("path:")) {
		const path = need.slice("path:".length);
		return existsSync(path) ? undefined : `there is no ${path}`;
	}
	if (need.startsWith("linux:")) return olderThan(need.slice("linux:".length));
	if (need.startsWith("fs:")) return missingFileSystem(need.slice("fs:".length));
	const check = checks[need];
	if (check === undefined) throw new Error(`no check for the need ${need}`);
	return check();
}

/** Whether CI said that it has this: a list in USERNS_PROMISED. */
export function isPromised(need: Need): boolean {
	return process.env.USERNS_PROMISED?.split(" ").includes(need) ?? false;
}

const answers = new Map<Need, string | undefined>();

/** Why a need is not met, or undefined when it is; looked for once in each process. */
function reasonFor(need: Need): string | undefined {
	if (!answers.has(need)) answers.set(need, missing(need));
	return answers.get(need);
}

/** Why the first that is not met is not. */
function firstReason(...needs: readonly Need[]): string | undefined {
	return needs.map(reasonFor).find((reason) => reason !== undefined);
}

/**
 * The reason to skip, or undefined when everything is there. Where CI promised a need (USERNS_PROMISED, a list
 * separated by spaces), a test that would skip for want of it fails instead.
 */
export function reasonToSkip(needs: readonly Need[]): string | undefined {
	for (const need of needs) {
		const reason = reasonFor(need);
		if (reason === undefined) continue;
		if (isPromised(need)) throw new Error(`${need} was promised, but: ${reason}`);
		return reason;
	}
	return undefined;
}
