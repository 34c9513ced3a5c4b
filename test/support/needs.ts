import { spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, release, tmpdir } from "node:os";
import { join } from "node:path";
import { noHostIds } from "./ids.ts";
import { noOrdinaryUser } from "./ordinary.ts";

/** Checks one thing that a test can need. Returns why it is missing, or undefined. */
const checks: Record<string, () => string | undefined> = {
	linux: () => (process.platform === "linux" ? undefined : "this is not Linux"),
	root: () => (process.geteuid?.() === 0 ? undefined : "not run as root"),
	/**
	 * scripts/test.mjs sets the variable if it made a mount namespace for the tests, so that no mount can outlive them.
	 * The programs are those that test/support/mounts.ts runs.
	 */
	"private-mounts": () =>
		process.env.USERNS_PRIVATE_MOUNTS === "1"
			? firstReason("tool:mount", "tool:umount")
			: "no mount namespace of its own (needs root)",
	/** The same for a test that makes ID-mapped mounts. */
	mounts: () => firstReason("private-mounts", ...(olderThan("6.3") ? EXT4 : [])),
	/** Node changes the user itself, and test/support/private-mounts.ts runs setpriv(1). */
	user: () =>
		spawnSync("true", { uid: OTHER_UID, gid: OTHER_UID }).status === 0
			? firstReason("tool:setpriv")
			: "cannot become another user",
	/** The host IDs of the tests: root may map any, and an ordinary user needs newuidmap and a wide range. */
	ids: () => noHostIds ?? (process.geteuid?.() === 0 ? undefined : noOrdinaryUser()),
	/** An ordinary user with subordinate IDs: the one that runs the tests, or one that root makes. */
	ordinary: noOrdinaryUser,
	/** A program for root file systems without a C library. */
	busybox: () => {
		const path = spawnSync("sh", ["-c", "command -v busybox"], { encoding: "utf8" }).stdout.trim();
		if (path === "") return "busybox is not installed";
		// The path of the dynamic loader is in the first pages of a program that needs one.
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
	/** A kernel with Landlock, which is configured and enabled. */
	landlock: () => {
		const flags = ["-x", "c", "-", "-o"];
		const folder = mkdtempSync(join(tmpdir(), "userns-landlock-"));
		try {
			const file = join(folder, "landlock");
			const source = readFileSync(new URL("../../../test/support/programs/landlock.c", import.meta.url));
			if (spawnSync("cc", [...flags, file], { input: source, stdio: "pipe" }).status !== 0) {
				return "the headers of the kernel have no Landlock";
			}
			return spawnSync(file, ["true"]).status === 0 ? undefined : "this kernel has no Landlock";
		} finally {
			rmSync(folder, { recursive: true });
		}
	},
	/** AppArmor, which is configured and enabled. apparmor_parser(8) writes profiles to its files. */
	apparmor: () => {
		if (!existsSync("/sys/module/apparmor/parameters/enabled")) return "this kernel has no AppArmor";
		const enabled = readFileSync("/sys/module/apparmor/parameters/enabled", "utf8").trim() === "Y";
		if (!enabled) return "AppArmor is not enabled";
		const files = "/sys/kernel/security/apparmor";
		return existsSync(`${files}/.load`) ? firstReason("tool:apparmor_parser") : `there is no ${files}/.load`;
	},
	/** A directory that virtiofsd shares with this machine, under the names in scripts/kernels/machines.mjs. */
	virtiofs: () => {
		const driver = "/sys/bus/virtio/drivers/virtiofs";
		if (missingFileSystem("virtiofs") !== undefined) return "the kernel has no virtiofs";
		return existsSync(driver) && readdirSync(driver).some((name) => name.startsWith("virtio"))
			? undefined
			: "this machine has no device of virtiofs";
	},
	/** The long form of a test, which takes minutes (npm run test:soak, npm run test:package). */
	long: () => (process.env.USERNS_LONG === "1" ? undefined : "the long form only (USERNS_LONG=1)"),
	loop: () => (canOpen("/dev/loop-control") ? undefined : "no loop devices"),
	/** Two threads that run at the same time. */
	processors: () => (availableParallelism() > 1 ? undefined : "this machine has one processor"),
	/**
	 * The address at which copies of the package share the state of the process (native/userns/process-state.c). Where it does not
	 * exist, a creation always executes userns-join in memory of its own. The stack is at the end of the address space.
	 */
	"shared-page": () => {
		const stack = /^([0-9a-f]+)-.*\[stack\]$/m.exec(readFileSync("/proc/self/maps", "utf8"))?.[1];
		const below = stack !== undefined && Number.parseInt(stack, 16) < Number(sharedAddress());
		return below ? `the address space ends at 0x${stack}, below ${sharedAddress()}` : undefined;
	},
};

/** The file system that the tests map if the kernel cannot map a tmpfs. */
const EXT4 = ["loop", "fs:ext4", "tool:mkfs.ext4"] as const;

/** Needs of the kernel that another need brings, and that CI does not promise. */
const BROUGHT: Partial<Record<Need, readonly Need[]>> = { mounts: ["linux:5.12"] };

/** The address of process-state.c, as its source has it. */
export function sharedAddress(): string {
	const source = readFileSync(new URL("../../../native/userns/process-state.c", import.meta.url), "utf8");
	const addresses = [...source.matchAll(/^#define ADDRESS (0x[0-9a-f]+)$/gm)].map(([, each = ""]) => each);
	return addresses[process.arch === "x64" ? 0 : 1] ?? "";
}

/** An ordinary user's ID without a name, which needs no change to the machine. */
export const OTHER_UID = 54321;

export type Need =
	| "linux"
	| "root"
	| "mounts"
	| "private-mounts"
	| "user"
	| "ids"
	| "ordinary"
	| "long"
	| "loop"
	| "processors"
	| "shared-page"
	| "landlock"
	| "apparmor"
	| "virtiofs"
	| "busybox"
	| "sanitizers"
	| "static"
	| `tool:${string}`
	| `path:${string}`
	| `fs:${string}`
	| `ns:${string}`
	| `linux:${string}`;

/**
 * Whether this kernel has at least that version, such as "6.15". The version counts, because the tests check the
 * features of that version.
 */
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

/** Whether the kernel has a file system. Asks it to load the module if not. */
function missingFileSystem(name: string): string | undefined {
	if (process.platform !== "linux") return "this is not Linux";
	if (!isKnown(name)) spawnSync("modprobe", ["--quiet", name], { stdio: "ignore" });
	if (!isKnown(name)) return `the kernel has no ${name}, and modprobe brought none`;
	return name === "fuse" && !canOpen("/dev/fuse") ? "/dev/fuse cannot be opened" : undefined;
}

/** Whether a device exists and works: a container's device cgroup refuses the open(2) of one that it shows. */
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
	if (need.startsWith("ns:")) {
		const kind = need.slice("ns:".length);
		return existsSync(`/proc/self/ns/${kind}`) ? undefined : `this kernel has no ${kind} namespaces`;
	}
	if (need.startsWith("fs:")) return missingFileSystem(need.slice("fs:".length));
	const check = checks[need];
	if (check === undefined) throw new Error(`no check for the need ${need}`);
	return check();
}

/** Whether CI promised this: a list in USERNS_PROMISED. */
export function isPromised(need: Need): boolean {
	return process.env.USERNS_PROMISED?.split(" ").includes(need) ?? false;
}

const answers = new Map<Need, string | undefined>();

/** Why a need is not met, or undefined if it is. Each process checks it once. */
function reasonFor(need: Need): string | undefined {
	if (!answers.has(need)) answers.set(need, missing(need));
	return answers.get(need);
}

/** Why the first unmet need is not met. */
function firstReason(...needs: readonly Need[]): string | undefined {
	return needs.map(reasonFor).find((reason) => reason !== undefined);
}

/**
 * The reason to skip, or undefined if every need is met. If CI promised a need (USERNS_PROMISED, a list separated by
 * spaces), a test that would skip for it fails instead.
 */
export function reasonToSkip(needs: readonly Need[]): string | undefined {
	for (const need of needs.flatMap((each) => [...(BROUGHT[each] ?? []), each])) {
		const reason = reasonFor(need);
		if (reason === undefined) continue;
		if (isPromised(need)) throw new Error(`${need} was promised, but: ${reason}`);
		return reason;
	}
	return undefined;
}
