import type { ChildProcess } from "node:child_process";
import { illegalConstructor, invalidArgument, show } from "../errors.ts";
import { inspectAs } from "../mapping/inspect.ts";
import type { Mapping, MappingInput } from "../mapping/mapping.ts";
import { CLONE_NEW, native } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { kernelError } from "../native/steps.ts";
import { createDescriptor, createDescriptorSync } from "./create.ts";
import { type CreateOptions, checkCreate, checkCreateLater } from "./create-options.ts";
import {
	checkArguments,
	EXEC_OPTIONS,
	type NamespaceExecOptions,
	type NamespaceSpawnOptions,
	SPAWN_OPTIONS,
} from "./enter-options.ts";
import { ownNamespace } from "./enter-program.ts";
import type { EnterTarget } from "./enter-request.ts";
import { execIn } from "./exec.ts";
import { type NamespaceHandle, openById, openByPath, openByPathLater, openByPid } from "./open.ts";
import { abortError, Pending } from "./pending.ts";
import { isComplete, type NamespaceMaps, readMaps, readMapsSync } from "./read-maps.ts";
import { spawnIn } from "./spawn.ts";

const WHAT = "UserNamespace";

/** Identifies a namespace: st_dev, st_ino and NS_GET_ID. */
interface Identity {
	device: bigint;
	inode: bigint;
	id: bigint;
}

/** The identity of this process's user namespace. It never changes, because a process with threads cannot join another one. */
let ownIdentity: Identity | undefined;

function isSame(a: Identity, b: Identity): boolean {
	return a.device === b.device && a.inode === b.inode && a.id === b.id;
}

/** Not exported from the package. Makes a UserNamespace that owns the descriptor. */
export let adoptNamespace: (descriptor: Descriptor, maps?: NamespaceMaps) => UserNamespace;

/**
 * An open user namespace: a descriptor of its nsfs file (/proc/PID/ns/user). The namespace exists for as long as a
 * descriptor of it is open, even if no process is in it. Close or dispose of every object. If an unclosed object becomes
 * unreachable, the garbage collector closes it, with a warning.
 * @see namespaces(7), user_namespaces(7), ioctl_nsfs(2)
 */
export class UserNamespace implements Disposable {
	readonly #descriptor: Descriptor;
	#identity: Identity | undefined;
	/** Undefined until the maps are read. */
	#maps: NamespaceMaps | undefined;

	private constructor(descriptor: Descriptor, maps: NamespaceMaps | undefined) {
		// No other code has an object of that class. The number of a descriptor does not say who closes it.
		if (!(descriptor instanceof Descriptor)) {
			throw illegalConstructor(WHAT, "UserNamespace.create(), UserNamespace.open() or Handles");
		}
		this.#descriptor = descriptor;
		this.#maps = maps;
	}

	static {
		adoptNamespace = (descriptor, maps) => new UserNamespace(descriptor, maps);
	}

	/**
	 * Creates a user namespace without a cache; see `Handles`. Rejects with `ERR_USERNS_INVALID_MAPPING`, `ERR_USERNS_UNMAPPED_ID`,
	 * `ERR_USERNS_LIMIT` (after about 200 ms of attempts), `ERR_USERNS_CREATE`, `ERR_USERNS_RESTRICTED` and the errors of
	 * newuidmap, and with an AbortError when the signal aborts. A creation in progress then continues in the background, with
	 * newuidmap for at most 30 seconds, and its namespace is closed.
	 */
	static create(
		mapping: MappingInput,
		options?: CreateOptions & { signal?: AbortSignal | undefined },
	): Promise<UserNamespace> {
		return new Promise((resolve, reject) => {
			const [request, signal] = checkCreateLater("UserNamespace.create", mapping, options);
			if (signal?.aborted) throw abortError(signal);
			const pending = new Pending<UserNamespace>();
			pending.add(resolve, reject, signal);
			const callbacks = {
				resolve: (descriptor: Descriptor) => {
					if (pending.wanted) pending.resolve(() => new UserNamespace(descriptor, request));
					else descriptor.close();
				},
				reject: (error: unknown) => pending.reject(error),
			};
			try {
				createDescriptor(request, WHAT, callbacks);
			} catch (error) {
				pending.reject(error);
			}
		});
	}

	/** Like `create`, on the calling thread. */
	static createSync(mapping: MappingInput, options?: CreateOptions): UserNamespace {
		const request = checkCreate("UserNamespace.createSync", mapping, options);
		return new UserNamespace(createDescriptorSync(request, WHAT), request);
	}

	/**
	 * Opens a user namespace: of a process, by its pid in the caller's pid namespace; at a path (/proc/PID/ns/user, or a file
	 * on which a namespace is mounted); or by its ID, as root of the host, see `handle`. Throws `ERR_USERNS_OPEN`, or
	 * `ERR_USERNS_NOT_A_USER_NAMESPACE` for any other file, without opening that file.
	 */
	static open(target: number | string | NamespaceHandle): UserNamespace {
		if (typeof target === "number") return new UserNamespace(...openByPid("UserNamespace.open", target));
		if (typeof target === "string") return new UserNamespace(...openByPath("UserNamespace.open", target));
		if (typeof target === "object" && target !== null) {
			return new UserNamespace(...openById("UserNamespace.open", target));
		}
		throw invalidArgument(
			`UserNamespace.open: the target must be a pid, a path or { id }, not ${show(target)}`,
		);
	}

	/**
	 * Like `open`, but does not block the event loop on a file system that does not answer. The look-up of the path fails
	 * after about ten seconds with `ERR_USERNS_OPEN` and ETIMEDOUT.
	 */
	static async openAsync(target: number | string | NamespaceHandle): Promise<UserNamespace> {
		if (typeof target !== "string") return UserNamespace.open(target);
		return new UserNamespace(...(await openByPathLater("UserNamespace.openAsync", target)));
	}

	/** The descriptor: close-on-exec, owned by this object. Throws `ERR_USERNS_CLOSED` after `close()`. */
	get fd(): number {
		return this.#descriptor.fd;
	}

	/** The inode number, as lsns(8) prints it. The kernel reuses the number after the namespace has ended. */
	get inode(): number {
		return Number(this.#identify().inode);
	}

	/** The namespace ID (NS_GET_ID), which is not reused until the next boot. Undefined before Linux 6.18. */
	get id(): bigint | undefined {
		const { id } = this.#identify();
		return id === 0n ? undefined : id;
	}

	/**
	 * Identifies the namespace until the next boot. `UserNamespace.open()` opens it again with this object, while the namespace exists. The
	 * handle needs no descriptor, and can be written to a log. Undefined before Linux 6.18.
	 */
	get handle(): { id: bigint; inode: number } | undefined {
		const { id, inode } = this;
		return id === undefined ? undefined : { id, inode };
	}

	/** Whether `close()` was called. */
	get closed(): boolean {
		return this.#descriptor.closed;
	}

	/** Duplicates the descriptor. The duplicate must be closed too. */
	dup(): UserNamespace {
		return new UserNamespace(this.#descriptor.dup(), this.#maps);
	}

	/** Whether both are the same namespace. Both must be open, because only an open namespace keeps its inode number. */
	equals(other: UserNamespace): boolean {
		if (!(other instanceof UserNamespace)) {
			throw invalidArgument(`UserNamespace.equals: the other must be a UserNamespace, not ${show(other)}`);
		}
		return isSame(this.#identify(), other.#identify());
	}

	/**
	 * The mapping, in the IDs of the caller's user namespace. It is known for a namespace that was created by this object or
	 * opened by a pid. Otherwise a process joins the namespace to read it, which needs CAP_SYS_ADMIN in the namespace. The
	 * mapping is empty before the maps are written. Rejects with `ERR_USERNS_READ_MAPPING`.
	 */
	async mapping(): Promise<Mapping> {
		return (await this.#read()).mapping;
	}

	/** Like `mapping`, on the calling thread. */
	mappingSync(): Mapping {
		return this.#readSync().mapping;
	}

	/** Whether setgroups(2) is allowed in the namespace (/proc/PID/setgroups). Read like `mapping`. */
	async setgroups(): Promise<"deny" | "allow"> {
		return (await this.#read()).setgroups;
	}

	/** The uid of the creator, in the caller's namespace; the overflow uid (65534) if it is not mapped there. */
	ownerUid(): number {
		const uid = native().ownerUid(this.fd);
		if (uid < 0) {
			throw kernelError("ERR_USERNS_DESCRIPTOR", "cannot read the owner of the user namespace", {
				error: uid,
				step: "owner",
			});
		}
		return uid;
	}

	/**
	 * The parent namespace. Undefined if the caller may not see it, as for the initial namespace and the caller's own.
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
	 * Runs a program in the namespace, as `child_process.spawn` does: the same options and the same ChildProcess. `uid`, `gid`
	 * and `groups` are IDs in the namespace; `unshare` names other namespaces to create for it. Needs CAP_SYS_ADMIN in the
	 * namespace. The program receives only the descriptors of `stdio`. Throws, before it starts a process, for wrong
	 * arguments, an ID that is not mapped (`ERR_USERNS_UNMAPPED_ID`) and a missing program (`ERR_USERNS_NO_PROGRAM`). A later
	 * refusal of the kernel is an `error` event (`ERR_USERNS_SPAWN`).
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
		return spawnIn(this.#enterTarget(command, fd), command, checked.args, checked.options);
	}

	/**
	 * Replaces this process with a program in the namespace, as execve(2) does. The program keeps the pid and the terminal of
	 * this process. No JavaScript runs after the call, not even `exit` handlers. Works only on the main thread. Throws like
	 * `spawn`. A later refusal of the kernel is printed (`failureText`), and the exit status is 125, 126 or 127 as for env(1).
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
		// The program inherits this duplicate.
		const inherited = this.#descriptor.dup();
		try {
			execIn(this.#enterTarget(command, fd), command, checked.args, checked.options, inherited.fd);
		} finally {
			inherited.close();
		}
	}

	#enterTarget(command: string, fd: number): EnterTarget {
		if (this.#isOwn()) throw ownNamespace(command);
		return { fd, maps: this.#readSync() };
	}

	/** Whether this process is in the namespace. */
	#isOwn(): boolean {
		ownIdentity ??= UserNamespace.#identifyOwn();
		return ownIdentity !== undefined && isSame(this.#identify(), ownIdentity);
	}

	static #identifyOwn(): Identity | undefined {
		const fd = native().openPath("/proc/self/ns/user", CLONE_NEW.user);
		if (fd < 0) return undefined;
		const own = new UserNamespace(new Descriptor(fd, WHAT), undefined);
		try {
			return own.#identify();
		} finally {
			own.close();
		}
	}

	/** Closes the descriptor. A second call does nothing. The namespace exists for as long as another descriptor is open. */
	close(): void {
		this.#descriptor.close();
	}

	/** Calls `close`. */
	[Symbol.dispose](): void {
		this.close();
	}

	#identify(): Identity {
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
		return this.#maps ?? this.#keep(await readMaps(fd));
	}

	#readSync(): NamespaceMaps {
		const fd = this.fd;
		return this.#maps ?? this.#keep(readMapsSync(fd));
	}

	#keep(maps: NamespaceMaps): NamespaceMaps {
		if (isComplete(maps.mapping)) this.#maps = maps;
		return maps;
	}
}

inspectAs(UserNamespace.prototype, "UserNamespace", (namespace) => {
	if (namespace.closed) return { closed: true };
	const { fd } = namespace;
	try {
		return { fd, inode: namespace.inode };
	} catch {
		return { fd }; // other code has closed the descriptor
	}
});
