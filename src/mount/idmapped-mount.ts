import { UsernsError } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import { native, type Outcome } from "../native/addon.ts";
import type { Descriptor } from "../native/descriptor.ts";
import { type Attachment, attachedError, attachTree, detachTree, type HeldTarget } from "./attach.ts";
import { type AttachOptions, checkAttachOptions, showLocation } from "./attach-options.ts";
import type { Branch } from "./branches.ts";
import { coveredError, detachError, isForeign } from "./detach.ts";
import { mountError, triedTo } from "./mount-errors.ts";
import { recordMount, removeRecord } from "./records.ts";
import type { SkippedMount } from "./tree-plan.ts";

/** What is known of a mount that was just made. */
export interface NewMount {
	descriptor: Descriptor;
	mountId: number;
	/**
	 * The unique mount ID, which distinguishes the mount from every other one, because it is never reused. 0 before
	 * Linux 6.8.
	 */
	uniqueId: number;
	recursive: boolean;
	/** MS_…. */
	propagation: number;
	/** What is shown, for messages: a place, or else words. */
	source: string | number;
	words: string | undefined;
	/** The mapping's id, for errors. */
	mapping: string;
}

/** In this mount namespace, with nothing that came along. */
const ALONE: Attachment = { namespace: undefined, submounts: new Set() };

const NONE: readonly SkippedMount[] = Object.freeze([]);

/**
 * For this package's own files: attaches a mount that cannot be attached yet, since nobody else has seen it. Answers what
 * is to be called at the very moment when the caller gets it.
 */
export let attachFresh: (
	mount: HeldMount,
	target: string | number,
	options: AttachOptions,
	more?: AttachMore,
) => Promise<() => void>;

/** The parts of a tree that is attached mount by mount. */
export interface AttachMore {
	/** The target, if it was looked up before. */
	held?: HeldTarget | undefined;
	below?: readonly Branch[];
}

/** The part that every mount of this package has: its descriptor, and being attached and taken away. */
export class HeldMount implements AsyncDisposable {
	readonly #mount: NewMount;
	#target: string | number | undefined;
	#attached: Attachment | undefined;
	/** From the call of attach() on; the promise of it, for unmount() to wait for. */
	#attaching: Promise<unknown> | undefined;
	#unmounting: Promise<void> | undefined;
	#unmounted = false;

	/** `target`: where it is attached already, in this mount namespace and with nothing below; undefined: it is not. */
	protected constructor(mount: NewMount, target: string | number | undefined) {
		this.#mount = mount;
		this.#target = target;
		this.#attached = target === undefined ? undefined : ALONE;
	}

	/** The mount's number, as in the first column of /proc/PID/mountinfo. */
	get mountId(): number {
		return this.#mount.mountId;
	}

	/** The target as it was given; undefined for a mount that is detached. */
	get target(): string | number | undefined {
		return this.#target;
	}

	/**
	 * An O_PATH descriptor of the mount's root, close-on-exec, owned by this object; give it to openat(2) as a
	 * directory. Throws `ERR_USERNS_CLOSED` after `close()` or `unmount()`.
	 */
	get fd(): number {
		return this.#mount.descriptor.fd;
	}

	get closed(): boolean {
		return this.#mount.descriptor.closed;
	}

	/**
	 * Attaches a detached mount, once. A second call is an error (`ERR_USERNS_ATTACHED`), as it is when somebody else
	 * attached it by its descriptor: the kernel would move it. After a failure it is detached as before; where a container's file system did not answer (ETIMEDOUT), make
	 * another one.
	 */
	async attach(target: string | number, options?: AttachOptions): Promise<void> {
		const checked = checkAttachOptions("attach", target, options);
		void this.fd; // throws when it is closed
		const tried = this.#tried(target);
		if (this.#attaching !== undefined || this.#attached !== undefined) {
			throw attachedError(tried, this.#target === undefined ? "another target" : showLocation(this.#target));
		}
		const acknowledge = await this.#attach(target, checked, false);
		acknowledge();
	}

	static {
		attachFresh = (mount, target, options, more) => mount.#attach(target, options, true, more);
	}

	#tried(target: string | number): string {
		const { source, words, mapping } = this.#mount;
		return triedTo(words ?? showLocation(source), showLocation(target), mapping);
	}

	async #attach(
		target: string | number,
		options: AttachOptions,
		fresh: boolean,
		{ held: place, below = [] }: AttachMore = {},
	): Promise<() => void> {
		const { descriptor, mountId, uniqueId, mapping, recursive, propagation } = this.#mount;
		const tried = this.#tried(target);
		const held = native().duplicate(descriptor.fd); // close() may be called while this is under way
		if (held.error < 0) throw mountError(tried, mapping, held);
		const attaching = attachTree(
			{ fd: held.fd, mountId, uniqueId, recursive, propagation, mapping, fresh, below },
			target,
			options,
			tried,
			place,
		);
		this.#attaching = attaching;
		try {
			const { namespace, submounts, unacknowledged } = await attaching;
			this.#attached = { namespace, submounts };
			this.#target = target;
			if (mapping === "") recordMount(BigInt(uniqueId)); // unmount(path) recognises it by the record
			if (descriptor.closed) namespace?.close();
			return () => native().close(unacknowledged);
		} finally {
			this.#attaching = undefined;
			native().close(held.fd);
		}
	}

	/**
	 * Unmounts the mount, in the mount namespace that it is in, and closes the descriptor. Files that are open on it stay
	 * usable until they are closed. Never unmounts anything else: throws `ERR_USERNS_UNMOUNT` and changes nothing when
	 * something was mounted on the mount since, or when other code in this process has closed the descriptor. Does
	 * nothing when the mount was unmounted already or was never attached. A second call does nothing; after `close()`
	 * it throws `ERR_USERNS_CLOSED`.
	 */
	unmount(): Promise<void> {
		this.#unmounting ??= this.#unmount().finally(() => {
			this.#unmounting = undefined;
		});
		return this.#unmounting;
	}

	async #unmount(): Promise<void> {
		// Again after a failure, of which the caller may have heard first and tried another target.
		while (this.#attaching !== undefined) await this.#attaching.catch(() => {});
		if (this.#unmounted) return;
		if (this.closed) {
			throw new UsernsError("ERR_USERNS_CLOSED", `the IdmappedMount at ${this.#where()} is closed`, {
				hint: "Call unmount() instead of close(), or unmount(path) for a mount that was left in place.",
			});
		}
		if (this.#attached !== undefined) await this.#detach(this.#attached);
		this.#unmounted = true;
		if (this.#mount.mapping === "") removeRecord(BigInt(this.#mount.uniqueId));
		this.#attached?.namespace?.close();
		await this.#mount.descriptor.closeLater();
	}

	#where(): string {
		return this.#target === undefined ? "no target" : showLocation(this.#target);
	}

	/** Works on duplicates, because close() may be called during the attach. */
	async #detach(attached: Attachment): Promise<void> {
		const { descriptor, mountId, uniqueId } = this.#mount;
		const fd = native().copy(descriptor.fd);
		const namespace = attached.namespace?.dup();
		try {
			if (fd < 0) this.#refuse({ error: fd, step: "duplicate" });
			if (namespace === undefined && attached.submounts.size === 0) {
				const alone = await native().detach(fd, uniqueId, -1, true, true);
				if (isForeign(alone.error)) this.#refuse(alone);
				if (alone.mountId !== 0) throw coveredError(this.#where());
				if (alone.error === 0) return;
			}
			await detachTree({ fd, mountId, uniqueId }, { ...attached, namespace });
		} finally {
			namespace?.close();
			// With the last descriptor the file system may be shut down.
			if (fd >= 0 && descriptor.closed) await native().closeLater(fd);
			else if (fd >= 0) native().close(fd);
		}
	}

	/** Does not close a number whose descriptor other code has closed, because it may be another file's by now. */
	#refuse(outcome: Pick<Outcome, "error" | "step">): never {
		const { descriptor } = this.#mount;
		const { fd } = descriptor;
		if (isForeign(outcome.error) && !descriptor.closed) {
			descriptor.wasClosed();
			native().disown(fd);
		}
		throw detachError(outcome, fd, this.#where());
	}

	/** Closes the descriptor. An attached mount stays; a detached one is gone. A second call does nothing. */
	close(): void {
		if (this.closed) return;
		this.#mount.descriptor.close();
		this.#attached?.namespace?.close();
	}

	/** Unmounts, unless it is closed already. */
	async [Symbol.asyncDispose](): Promise<void> {
		if (!this.closed) await this.unmount();
	}
}

/** For this package's own files: an IdmappedMount of a mount that was just made. */
export let adoptMount: (
	mount: NewMount,
	mapping: Mapping,
	skipped: readonly SkippedMount[],
	target: string | number | undefined,
) => IdmappedMount;

/**
 * An ID-mapped mount: for `mapping`, `containerID` is the ID on disk and `hostID` the ID visible through the mount.
 *
 * Its descriptor keeps the mount: while it is open, a plain umount(8) of the target says EBUSY (umount --lazy works).
 * `close()` lets go of the descriptor and leaves what is attached where it is; `unmount()` takes the mount away.
 */
export class IdmappedMount extends HeldMount {
	/**
	 * The map that the mount has, disk to visible. For a source that was ID-mapped it is the composed one; with `unmap`
	 * every ID is visible as it is on disk.
	 */
	readonly mapping: Mapping;
	/** The mounts below the source that `skipUnsupported` left without a map. */
	readonly skipped: readonly SkippedMount[];

	private constructor(
		mount: NewMount,
		mapping: Mapping,
		skipped: readonly SkippedMount[],
		target: string | number | undefined,
	) {
		super(mount, target);
		this.mapping = mapping;
		this.skipped = skipped.length === 0 ? NONE : Object.freeze([...skipped]);
	}

	static {
		adoptMount = (mount, mapping, skipped, target) => new IdmappedMount(mount, mapping, skipped, target);
	}
}
