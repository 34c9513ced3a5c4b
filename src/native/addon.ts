import { AsyncResource } from "node:async_hooks";
import { loadAddon } from "./load-addon.ts";

/** The result of most methods (native/kernel/outcome.h). A method throws only if an argument is wrong, which TypeScript checks before. */
export interface Outcome {
	/** 0, or the negative errno of the step that failed. */
	error: number;
	/** The step, a key of the table in steps.ts. */
	step?: string;
	/** A new descriptor that this environment owns, or −1. */
	fd: number;
	/** As in mountinfo; 0 when there is none. */
	mountId: number;
	/** The unique mount ID, which is never reused; 0 if there is none, and before Linux 6.8. */
	uniqueId: number;
	/** uid_map, gid_map and setgroups of a process, with a colon between them (native/proc/nsfs.h). */
	maps?: string;
	/** The standard output and error of newuidmap and newgidmap; undefined when they were not called. */
	uidSaid?: string;
	gidSaid?: string;
	/** The kernel's log of a mount. */
	log?: string;
	/** The bytes that were read; undefined at the end of the file. */
	bytes?: ArrayBuffer;
	/** The name of a file in a directory; or the uid and the name of a refused link (native/mount/path-walk.h). */
	name?: string;
	/** 0: the program succeeded or was not called; its exit status; 256 and a signal's number; or a negative errno. */
	uidStatus?: number;
	gidStatus?: number;
}

/** The arguments of `create` (native/userns/create.h). */
export interface CreateArguments {
	uidMap: string;
	/** Null: the same as `uidMap`. */
	gidMap: string | null;
	/** Whether setgroups is allowed. */
	allow: boolean;
	direct: boolean;
	/** The paths of newuidmap and newgidmap, empty for one that must not be called, and the arguments of each; or nothing. */
	helpers: readonly string[];
}

/** The descriptor of the new namespace; or an outcome, after an error or if there is more to report. */
export type CreateResult = number | Outcome;

/** Returns the result for the token −1. For any other token, the `onResult` of `createMethod` receives it later, with the token. */
export type Create = (
	uidMap: string,
	gidMap: string | null,
	allow: boolean,
	direct: boolean,
	helpers: readonly string[],
	token: number,
) => CreateResult | undefined;

/** The change to the map of one mount of a tree (native/mount/detached-tree.h). */
export const PART = { keep: 0, map: 1, remap: 2, clear: 3, itself: 4 } as const;

/** The object that a look-up of a path returns (native/mount/path-walk.h). */
export const WALK_END = { location: 0, holder: 1, parent: 2, create: 3, remove: 4 } as const;

/** The flags for the kinds of namespaces: CLONE_NEW… of <linux/sched.h>. */
export const CLONE_NEW = {
	user: 0x10000000,
	mount: 0x00020000,
	pid: 0x20000000,
	net: 0x40000000,
	ipc: 0x08000000,
	uts: 0x04000000,
	cgroup: 0x02000000,
	time: 0x00000080,
} as const;

/** Which symbolic links a look-up follows. */
export const WALK_LINKS = { own: 0, none: 1 } as const;

/** The system calls that `dryCall` can make, in the order of the table in native/child/dry-call.c. */
export const DRY_CALLS = [
	"clone",
	"clone3",
	"unshare",
	"setns",
	"open_tree",
	"mount_setattr",
	"open_tree_attr",
	"openat2",
	"umount2",
	"memfd_create",
	"execveat",
	"move_mount",
	"mount",
] as const;

/** The methods for mounts (native/addon/methods.c, native/addon/mount-methods.c). */
export interface NativeMounts {
	/**
	 * Opens a path, relative to `fd` unless that is −1, with RESOLVE_…, in a mount namespace. `automount` triggers an autofs mount
	 * at the last name if `resolve` is 0. Returns an O_PATH descriptor and its mount's IDs.
	 */
	openLocation(
		fd: number,
		path: string,
		resolve: number,
		mountNs: number,
		automount: boolean,
	): Promise<Outcome>;
	/**
	 * A detached tree (native/mount/detached-tree.h). Three numbers for each part: mount ID or 0, PART, namespace or −1. `mountNs`: the
	 * mount namespace of the source, a descriptor; −1: this one.
	 */
	tree(
		sourceFd: number,
		source: string | null,
		resolve: number,
		partPaths: readonly string[],
		partNumbers: readonly number[],
		recursive: boolean,
		recursiveIdmap: boolean,
		set: number,
		clear: number,
		propagation: number,
		mountNs: number,
	): Promise<Outcome>;
	/**
	 * Attaches a tree (native/mount/mntns-child.h); `mountNs` −1: in this mount namespace. If this thread ends before the call of
	 * `acknowledge` for `tree` or before `tree` is closed, the mount is unmounted, because JavaScript has not received it.
	 */
	attach(
		tree: number,
		uniqueId: number,
		targetFd: number,
		target: string | null,
		resolve: number,
		replace: boolean,
		recursive: boolean,
		propagation: number,
		mountNs: number,
	): Promise<Outcome>;
	/**
	 * Maps one mount and attaches it here: `tree` and `attach` in one call. Returns its descriptor, which must be
	 * acknowledged as that of `attach`.
	 */
	mount(
		sourceFd: number,
		source: string | null,
		sourceResolve: number,
		targetFd: number,
		target: string | null,
		targetResolve: number,
		ns: number,
		set: number,
		clear: number,
		propagation: number,
	): Promise<Outcome>;
	/** Acknowledges that JavaScript has received the mount of this descriptor. Closing the descriptor does so too. */
	acknowledge(fd: number): number;
	/**
	 * Unmounts a mount recursively; `mountNs` −1: here. ESTALE if the descriptor is not of the mount with that unique
	 * ID (0: any). With `alone`: EBUSY if another mount is on it, and no error if it is no longer attached;
	 * `mountId` is 1 if a mount that was attached on it at that moment was unmounted instead.
	 */
	detach(fd: number, uniqueId: number, mountNs: number, alone: boolean, later: true): Promise<Outcome>;
	detach(
		fd: number,
		uniqueId: number,
		mountNs: number,
		alone: boolean,
		later: boolean,
	): Outcome | Promise<Outcome>;
	/** Makes the private mount `to` a peer of `from` with the same master, and always shared. */
	joinPeers(from: number, to: number, mountNs: number): Promise<Outcome>;
	/** Closes a descriptor of this environment on another thread: its file system may be shut down with it. */
	closeLater(fd: number): Promise<Outcome>;
	/** Removes a descriptor from the registry of this environment without closing it, because other code has closed it: 0 or −EBADF. */
	unregister(fd: number): number;
	/**
	 * Makes a detached overlay (native/mount/overlay.h). `roots` are for a kernel that takes no layers on detached mounts, or
	 * empty. With `ask` nothing is made, and EBUSY means that a lower layer is another overlay's upper layer or work
	 * directory. With `prepare` a new upper layer gets the visible owner and mode of the topmost lower layer, unless that is one of
	 * the overflow IDs, the last two arguments (native/mount/upper-layer.h).
	 */
	overlay(
		lower: readonly number[],
		upper: number,
		work: number,
		set: number,
		clear: number,
		roots: readonly number[],
		ask: boolean,
		prepare: boolean,
		unmappedUid: number,
		unmappedGid: number,
	): Promise<Outcome>;
	/** A pidfd. */
	openProcess(pid: number): Outcome;
	/** The namespace of that kind, a CLONE_NEW…, of the pidfd's process. */
	namespaceOf(pidfd: number, kind: number): Outcome;
	/** The user namespace that owns a namespace. */
	ownerNamespace(fd: number): Outcome;
	rootOf(pidfd: number): Outcome;
	/** The mountinfo of a mount namespace, as seen from its root. */
	mountTable(mountNs: number): Outcome;
	/** The mountinfo of the pidfd's process. */
	mountTableOf(pidfd: number): Outcome;
	/** Reads the next `bytes` bytes of a file, or fewer, on this thread or, with `later`, on another. */
	readPiece(fd: number, bytes: number, later: false): Outcome;
	readPiece(fd: number, bytes: number, later: true): Promise<Outcome>;
	/** The ID by which statmount(2) identifies the mount namespace, or a negative errno. */
	mountNamespaceId(fd: number): bigint | number;
	/** [st_uid, st_gid, st_mode] that the kernel holds for a file, or a negative errno; the file system is not asked. */
	fileOwner(fd: number): [bigint, bigint, bigint] | number;
	/** [mount ID, unique mount ID or 0, 1 for the root of a mount], or a negative errno. */
	mountIds(fd: number): [bigint, bigint, bigint] | number;
	/** A new mount namespace whose root is a copy of the descriptor's mount, which may be detached. Linux 7.0. */
	namespaceAround(fd: number): Outcome;
	/** Calls statmount(2) for the mount of the descriptor or, if that is −1, of the ID: `bytes` is the kernel's struct statmount. */
	statmount(
		fd: number,
		id: bigint,
		mountNs: bigint,
		mask: bigint,
		bytes: number,
		later: boolean,
	): Outcome | Promise<Outcome>;
	/** Calls listmount(2): `bytes` are unique mount IDs of 64 bits each. */
	listmount(
		id: bigint,
		mountNs: bigint,
		last: bigint,
		most: number,
		later: boolean,
	): Outcome | Promise<Outcome>;
	/**
	 * Looks a path up, name by name, in a child process with a time limit (native/mount/path-walk.h). `end`: WALK_END; `links`:
	 * WALK_LINKS; `owner`: the uid, besides root, whose symbolic links are followed; `mountNs` and `start`: descriptors
	 * or −1.
	 */
	walk(
		end: number,
		links: number,
		owner: number,
		mountNs: number,
		start: number,
		contained: boolean,
		path: string,
		later: boolean,
	): Outcome | Promise<Outcome>;
	/** The namespace of that kind, a CLONE_NEW…, that the path leads to. */
	openNamespace(path: string, kind: number, owner: number, later: true): Promise<Outcome>;
	openNamespace(path: string, kind: number, owner: number, later: false): Outcome;
	/** Mounts a user namespace on a file, a descriptor. Returns a descriptor of the mount, whose close acknowledges it, see `attach`. */
	pin(fd: number, file: number, later: boolean): Outcome | Promise<Outcome>;
}

/**
 * The methods of the add-on, one to one (native/addon/methods.c). Descriptors are numbers here. With `later` a method runs on
 * another thread and returns a promise.
 */
export interface NativeSurface extends NativeMounts {
	createMethod(onResult: (token: number, result: CreateResult) => void): Create;
	/** The `maps` of an outcome alone, or an outcome with an error. */
	readMaps(fd: number, later: false): string | Outcome;
	readMaps(fd: number, later: true): Promise<string | Outcome>;
	/** The new descriptor of the namespace of that kind, a CLONE_NEW…, or a negative errno. */
	openPath(path: string, kind: number): number;
	/** The new descriptor and `maps`, or an outcome with an error. */
	openPid(pid: number): [fd: number, maps: string] | Outcome;
	/** As `openPid`, for the process of a pidfd. */
	userNamespaceOf(pidfd: number): [fd: number, maps: string] | Outcome;
	/** The user namespace with that ID (NS_GET_ID). The inode 0 stands for any since Linux 7.2. */
	openId(id: bigint, inode: number): Outcome;
	/** Calls listns(2): `bytes` are the IDs of user namespaces after `last`, of 64 bits each. */
	listNamespaces(last: bigint, most: number): Outcome;
	duplicate(fd: number): Outcome;
	/** As `duplicate`, without an object around it: the new descriptor, or a negative errno. */
	copy(fd: number): number;
	parent(fd: number): Outcome;
	/** 0, or −EBADF for a descriptor that this environment does not own. */
	close(fd: number): number;
	/** [st_dev, st_ino, NS_GET_ID or 0], or a negative errno. */
	identify(fd: number): [bigint, bigint, bigint] | number;
	/** The value of fs.suid_dumpable, or a negative errno: EXDEV if /proc/sys is hidden (native/proc/sysctl.h). */
	suidDumpable(): number;
	/** The uid, or a negative errno. */
	ownerUid(fd: number): number;
	/**
	 * Makes the system call of that index of DRY_CALLS with arguments that no kernel accepts. 0: the kernel checked the arguments. 1: a
	 * seccomp filter answered, or the kernel does not have the call. `isApart`: in a child, because a filter can end the process; a
	 * negative errno means that the answer is not known (native/child/dry-call.h).
	 */
	dryCall(index: number, isApart: boolean): number;
	/** A descriptor of userns-enter, with a number of at least `least`, to which /proc/self/fd leads (native/child/own-program.h). */
	openProgram(least: number): Outcome;
	/**
	 * Replaces this process with userns-enter, which inherits the standard streams, `fds`, and all descriptors below `least`. Returns
	 * only if that fails.
	 */
	execSelf(
		args: readonly string[],
		environment: readonly string[],
		fds: readonly number[],
		least: number,
	): Outcome;
}

let loaded: NativeSurface | undefined;
/**
 * Loads the add-on outside any async context. The add-on makes its thread-safe function when it is loaded, and Node
 * ties that function to the current async context, so the AsyncLocalStorage values of the first caller would never be
 * collected.
 */
const outside = new AsyncResource("userns");

/** The add-on, loaded at its first use, because the package must be importable on every platform. */
export function native(): NativeSurface {
	loaded ??= outside.runInAsyncScope(loadAddon) as NativeSurface;
	return loaded;
}
