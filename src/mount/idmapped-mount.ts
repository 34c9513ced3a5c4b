import { UsernsError } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import type { Descriptor } from "../native/descriptor.ts";
import { detach, markOf } from "./detach.ts";
import type { MountEntry } from "./mountinfo.ts";

/** For this package's own files: an IdmappedMount of a mount that was just made. */
export let adoptMount: (
	descriptor: Descriptor,
	target: string | undefined,
	mountId: number,
	mapping: Mapping,
	submounts: readonly MountEntry[],
) => IdmappedMount;

/**
 * An ID-mapped mount: for `mapping`, `containerID` is the ID on disk and `hostID` the ID visible through the mount.
 *
 * Its descriptor keeps the mount: while it is open, a plain umount(8) of the target says EBUSY (umount --lazy works).
 * `close()` lets go of the descriptor and leaves what is attached where it is; `unmount()` takes the mount away.
 */
export class IdmappedMount implements AsyncDisposable {
	readonly #descriptor: Descriptor;
	readonly #submounts: ReadonlySet<string>;
	/** The target as it was given; undefined for a mount that is detached. */
	readonly target: string | undefined;
	/** The mount's number, as in the first column of /proc/PID/mountinfo. */
	readonly mountId: number;
	readonly mapping: Mapping;
	#unmounted = false;

	private constructor(
		descriptor: Descriptor,
		target: string | undefined,
		mountId: number,
		mapping: Mapping,
		submounts: ReadonlySet<string>,
	) {
		this.#descriptor = descriptor;
		this.target = target;
		this.mountId = mountId;
		this.mapping = mapping;
		this.#submounts = submounts;
	}

	static {
		adoptMount = (descriptor, target, mountId, mapping, submounts) =>
			new IdmappedMount(descriptor, target, mountId, mapping, new Set(submounts.map(markOf)));
	}

	/**
	 * An O_PATH descriptor of the mount's root, close-on-exec, owned by this object; give it to openat(2) as a
	 * directory. Throws `ERR_USERNS_CLOSED` after `close()` or `unmount()`.
	 */
	get fd(): number {
		return this.#descriptor.fd;
	}

	get closed(): boolean {
		return this.#descriptor.closed;
	}

	/**
	 * Takes the mount away and closes the descriptor. Files that are open on it stay usable until they are closed.
	 * Never unmounts anything else: when something was mounted on it since, it throws `ERR_USERNS_UNMOUNT` and changes
	 * nothing; when the mount is gone already, or was detached from the start, there is nothing to do. A second call
	 * does nothing; after `close()` it throws `ERR_USERNS_CLOSED`.
	 */
	async unmount(): Promise<void> {
		if (this.#unmounted) return;
		if (this.closed) {
			throw new UsernsError(
				"ERR_USERNS_CLOSED",
				`the IdmappedMount at ${this.target ?? "no target"} is closed`,
				{
					hint: "Call unmount() instead of close(), or unmount(path) for a mount that was left in place.",
				},
			);
		}
		if (this.target !== undefined) {
			detach(this.fd, this.mountId, (submount) => this.#submounts.has(markOf(submount)));
		}
		this.#unmounted = true;
		this.#descriptor.close();
	}

	/** Closes the descriptor. An attached mount stays; a detached one is gone. A second call does nothing. */
	close(): void {
		this.#descriptor.close();
	}

	/** Unmounts, unless it is closed already. */
	async [Symbol.asyncDispose](): Promise<void> {
		if (!this.closed) await this.unmount();
	}
}
