import type { ChildProcess } from "node:child_process";
import { checkPath, invalidArgument, show } from "../errors.ts";
import type { Mapping, MappingInput } from "../mapping/mapping.ts";
import { native, type Outcome, ownProgram } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { linkOwner } from "../native/link-owner.ts";
import { kernelError } from "../native/steps.ts";
import { abortable, abortError } from "./abort.ts";
import { createDescriptor, createDescriptorSync } from "./create.ts";
import { type CreateOptions, checkCreate, checkCreateLater } from "./create-options.ts";
import { checkArguments, EXEC_OPTIONS, SPAWN_OPTIONS } from "./enter-options.ts";
import {
	completeMaps,
	isComplete,
	type NamespaceMaps,
	openError,
	parseMaps,
	readError,
} from "./read-maps.ts";
import { execIn, type NamespaceExecOptions, type NamespaceSpawnOptions, spawnIn } from "./spawn.ts";

const WHAT = "UserNamespace";
/** <linux/sched.h> */
const CLONE_NEWUSER = 0x10000000;
/** PATH_MAX of <linux/limits.h>, with the NUL at the end. */
const PATH_MAX = 4096;

/** For this package's own files: a UserNamespace of a descriptor that it then owns. */
export let adoptNamespace: (descriptor: Descriptor, maps?: NamespaceMaps) => UserNamespace;

/**
 * An open user namespace: a descriptor of its nsfs file, as /proc/PID/ns/user gives it. The namespace lives for as
 * long as anybody holds one, whatever becomes of the processes in it. Close it, or dispose of it; one that is
 * forgotten is closed by the garbage collector, with a warning.
 * @see namespaces(7), user_namespaces(7), ioctl_nsfs(2)
 */
export class UserNamespace implements Disposable {
	readonly #descriptor: Descriptor;
	#identity: { device: bigint; inode: bigint; id: bigint } | undefined;
	#maps: NamespaceMaps | undefined;

	private constructor(descriptor: Descriptor, maps: NamespaceMaps | undefined) {
		this.#descriptor = descriptor;
		this.#maps = maps;
	}

	static {
		adoptNamespace = (descriptor, maps) => new UserNamespace(descriptor, maps);
	}

	/**
	 * Makes a new namespace, every time: `Handles` is the cache. Rejects with `ERR_USERNS_INVALID_MAPPING`,
	 * `ERR_USERNS_UNMAPPED_ID`, `ERR_USERNS_LIMIT` (after some 200 ms of trying) or `ERR_USERNS_CREATE`; with an
	 * AbortError when the signal aborts; what was under way then ends by itself, newuidmap after 30 seconds at the latest,
	 * and nothing is left of it.
	 */
	static async create(
		mapping: MappingInput,
		options?: CreateOptions & { signal?: AbortSignal | undefined },
	): Promise<UserNamespace> {
		const [request, signal] = checkCreateLater("UserNamespace.create", mapping, options);
		if (signal?.aborted) throw abortError(signal);
		const made = new Promise<Descriptor>((resolve, reject) =>
			createDescriptor(request, WHAT, { resolve, reject }),
		);
		const descriptor = await abortable(made, signal, (late) => late.close());
		return new UserNamespace(descriptor, request);
	}

	/** As `create`, on the calling thread. */
	static createSync(mapping: MappingInput, options?: CreateOptions): UserNamespace {
		const request = checkCreate("UserNamespace.createSync", mapping, options);
		return new UserNamespace(createDescriptorSync(request, WHAT), request);
	}

	/**
	 * Opens the user namespace of a process (a number: its pid in the caller's pid namespace), or the one that a path
	 * leads to (/proc/PID/ns/user, or a file that a namespace is mounted on). Throws `ERR_USERNS_OPEN`, or
	 * `ERR_USERNS_NOT_A_USER_NAMESPACE` for anything else; nothing else is ever opened, only looked at.
	 */
	static open(target: number | string): UserNamespace {
		if (typeof target === "number") return UserNamespace.#openPid(target);
		if (typeof target === "string") return UserNamespace.#openPath(target);
		throw invalidArgument(`UserNamespace.open: the target must be a pid or a path, not ${show(target)}`);
	}

	/**
	 * Like `open`, but does not block the event loop on a file system that does not answer: the look-up of the path
	 * then fails after about ten seconds with `ERR_USERNS_OPEN` and ETIMEDOUT.
	 */
	static async openAsync(target: number | string): Promise<UserNamespace> {
		if (typeof target !== "string") return UserNamespace.open(target);
		checkNamespacePath("UserNamespace.openAsync", target);
		const outcome = await native().openNamespace(target, CLONE_NEWUSER, linkOwner(), true);
		if (outcome.error < 0) throw openError(`cannot open the user namespace at ${show(target)}`, outcome);
		return new UserNamespace(new Descriptor(outcome.fd, WHAT), undefined);
	}

	static #openPid(pid: number): UserNamespace {
		if (!Number.isInteger(pid) || pid < 1 || pid > 0x7fffffff) {
			throw invalidArgument(
				`UserNamespace.open: a pid must be a whole number from 1 to 2147483647, not ${show(pid)}`,
			);
		}
		const answer = native().openPid(pid);
		if (Array.isArray(answer) && answer[0] >= 0) {
			return new UserNamespace(new Descriptor(answer[0], WHAT), completeMaps(answer[1]));
		}
		const failed = Array.isArray(answer) ? { error: answer[0], step: "own" } : answer;
		throw openError(`cannot open the user namespace of process ${pid}`, failed);
	}

	static #openPath(path: string): UserNamespace {
		checkPath("UserNamespace.open: the path", path);
		const outcome = native().openNamespace(path, CLONE_NEWUSER, linkOwner(), false);
		if (outcome.error < 0) throw openError(`cannot open the user namespace at ${show(path)}`, outcome);
		return new UserNamespace(new Descriptor(outcome.fd, WHAT), undefined);
	}

	/** The descriptor's number: close-on-exec, owned by this object. Throws `ERR_USERNS_CLOSED` after `close()`. */
	get fd(): number {
		return this.#descriptor.fd;
	}

	/** st_ino, the number that lsns(8) prints. The kernel gives it to another namespace once this one is gone. */
	get inode(): number {
		return Number(this.#identify().inode);
	}

	/** NS_GET_ID: never given to another namespace until the next boot. Undefined before Linux 6.18. */
	get id(): bigint | undefined {
		const { id } = this.#identify();
		return id === 0n ? undefined : id;
	}

	get closed(): boolean {
		return this.#descriptor.closed;
	}

	/** Another descriptor of the same namespace, with a life of its own. */
	dup(): UserNamespace {
		return new UserNamespace(this.#descriptor.dup(), this.#maps);
	}

	/** True when both are the same namespace. While both are held, device and inode cannot mislead. */
	equals(other: UserNamespace): boolean {
		if (!(other instanceof UserNamespace)) {
			throw invalidArgument(`UserNamespace.equals: the other must be a UserNamespace, not ${show(other)}`);
		}
		const a = this.#identify();
		const b = other.#identify();
		return a.device === b.device && a.inode === b.inode && a.id === b.id;
	}

	/**
	 * The mapping, as seen from the caller's own user namespace. NamespaceMaps without asking for a namespace that was created
	 * here or opened by a pid; otherwise read back through a process that joins, which needs CAP_SYS_ADMIN in the
	 * namespace. A namespace whose maps were not written yet has an empty one.
	 */
	async mapping(): Promise<Mapping> {
		return (await this.#read()).mapping;
	}

	/** As `mapping`, on the calling thread. */
	mappingSync(): Mapping {
		return this.#readSync().mapping;
	}

	/** Whether setgroups(2) is allowed inside: the file /proc/PID/setgroups. Asked as `mapping` is. */
	async setgroups(): Promise<"deny" | "allow"> {
		return (await this.#read()).setgroups;
	}

	/** The uid that created it, in the caller's namespace; the overflow uid (65534) when it has none there. */
	ownerUid(): number {
		const uid = native().ownerUid(this.fd);
		if (uid < 0) {
			throw kernelError("ERR_USERNS_DESCRIPTOR", "cannot tell who owns the user namespace", {
				error: uid,
				step: "owner",
			});
		}
		return uid;
	}

	/**
	 * The parent namespace; undefined when there is none that the caller may see, which is so for the initial
	 * namespace and for the caller's own.
	 */
	parent(): UserNamespace | undefined {
		const outcome = native().parent(this.fd);
		if (outcome.error === ERRNO.EPERM) return undefined;
		if (outcome.error < 0) {
			throw kernelError("ERR_USERNS_DESCRIPTOR", "cannot open the parent of the user namespace", outcome);
		}
		return new UserNamespace(new Descriptor(outcome.fd, WHAT), undefined);
	}

	/**
	 * `child_process.spawn` inside the namespace: the same options and the same ChildProcess, with `uid`, `gid` and
	 * `groups` that count inside, and other namespaces to `unshare` with it. Needs CAP_SYS_ADMIN in the namespace. The
	 * program gets the descriptors of `stdio` and no other. Throws, before anything is started, for wrong arguments, an ID
	 * that is not mapped (`ERR_USERNS_UNMAPPED_ID`) and a program that is not there (`ERR_USERNS_NO_PROGRAM`); what the
	 * kernel refuses afterwards is an `error` event (`ERR_USERNS_SPAWN`).
	 */
	spawn(command: string, options?: NamespaceSpawnOptions): ChildProcess;
	spawn(command: string, args?: readonly string[], options?: NamespaceSpawnOptions): ChildProcess;
	spawn(
		command: string,
		args: readonly string[] | NamespaceSpawnOptions = [],
		options?: NamespaceSpawnOptions,
	): ChildProcess {
		const fd = this.fd;
		const [list, given] = Array.isArray(args) ? [args, options] : [[], args];
		const checked = checkArguments<NamespaceSpawnOptions>(
			"UserNamespace.spawn",
			command,
			list,
			given,
			SPAWN_OPTIONS,
		);
		const target = { fd, maps: this.#readSync(), own: this.#isOwn() };
		return spawnIn(target, command, checked.args, checked.options);
	}

	/**
	 * Replaces this process by a program inside the namespace, as execve(2) does: its pid, its terminal, its signals and
	 * its exit status are the program's. Nothing of JavaScript runs any more, `exit` handlers neither. On the main thread
	 * only. Throws as `spawn` does; what the kernel refuses afterwards is told on standard error, with exit status 125
	 * (126 and 127: the program cannot be executed).
	 */
	exec(command: string, args: readonly string[] = [], options?: NamespaceExecOptions): never {
		const fd = this.fd;
		const checked = checkArguments<NamespaceExecOptions>(
			"UserNamespace.exec",
			command,
			args,
			options,
			EXEC_OPTIONS,
		);
		// A duplicate, since it is to be inherited.
		const held = this.#descriptor.dup();
		try {
			const target = { fd, maps: this.#readSync(), own: this.#isOwn() };
			execIn(target, command, checked.args, checked.options, held.fd);
		} finally {
			held.close();
		}
	}

	/** True when this process lives in it. setns(2) refuses to join that. */
	#isOwn(): boolean {
		const fd = native().openPath("/proc/self/ns/user");
		if (fd < 0) return false;
		const own = new UserNamespace(new Descriptor(fd, WHAT), undefined);
		try {
			return this.equals(own);
		} finally {
			own.close();
		}
	}

	/** Closes the descriptor; a second call does nothing. The namespace lives on while others hold it. */
	close(): void {
		this.#descriptor.close();
	}

	[Symbol.dispose](): void {
		this.close();
	}

	#identify(): { device: bigint; inode: bigint; id: bigint } {
		const fd = this.fd;
		if (this.#identity !== undefined) return this.#identity;
		const answer = native().identify(fd);
		if (typeof answer === "number") {
			throw kernelError("ERR_USERNS_DESCRIPTOR", "cannot identify the user namespace", {
				error: answer,
				step: "identify",
			});
		}
		const [device, inode, id] = answer;
		this.#identity = { device, inode, id };
		return this.#identity;
	}

	async #read(): Promise<NamespaceMaps> {
		const fd = this.fd;
		if (this.#maps !== undefined) return this.#maps;
		// The work in the thread pool needs a descriptor that nobody closes meanwhile: its number may be another's then.
		const held = native().duplicate(fd);
		if (held.error < 0) throw readError(held);
		try {
			const outcome = await native().readMaps(held.fd, ownProgram("userns-join"), true);
			return this.#learn(outcome.error < 0 ? outcome : (outcome.maps as string));
		} finally {
			native().close(held.fd);
		}
	}

	#readSync(): NamespaceMaps {
		const fd = this.fd;
		if (this.#maps !== undefined) return this.#maps;
		return this.#learn(native().readMaps(fd, ownProgram("userns-join"), false));
	}

	#learn(answer: string | Outcome): NamespaceMaps {
		if (typeof answer !== "string") throw readError(answer);
		const read = parseMaps(answer);
		if (isComplete(read.mapping)) this.#maps = read;
		return read;
	}
}

function checkNamespacePath(what: string, path: string): void {
	if (path === "" || path.includes("\0") || Buffer.byteLength(path) >= PATH_MAX) {
		throw invalidArgument(
			`${what}: a path must be a text without NUL, of at most ${PATH_MAX - 1} bytes, not ${show(path)}`,
		);
	}
}
