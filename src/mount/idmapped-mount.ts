import { illegalConstructor, UsernsError } from "../errors.ts";
import { inspectAs } from "../mapping/inspect.ts";
import type { Mapping } from "../mapping/mapping.ts";
import { native, type Outcome } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { type Attachment, attachedError, attachTree, detachTree, type HeldTarget } from "./attach.ts";
import { type AttachOptions, checkAttachOptions } from "./attach-options.ts";
import type { Branch } from "./branches.ts";
import { coveredError, detachError, isForeign } from "./detach.ts";
import { type Location, showLocation } from "./location.ts";
import { mountError, triedTo } from "./mount-errors.ts";
import type { MountNamespace } from "./mount-namespace.ts";
import { recordMount, removeRecord } from "./records.ts";
import type { SkippedMount } from "./tree-plan.ts";

/** A mount that was just created. */
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
	/** The source in messages: a location, or words instead. */
	source: Location;
	words: string | undefined;
	/** The mapping's id, for errors; "" for a mount without a map. */
	mapping: string;
}

/** A mount in the mount namespace of this process, without mounts below it. */
const ALONE: Attachment = { namespace: undefined, submounts: new Set() };

const NONE: readonly never[] = Object.freeze([]);

/**
 * Not exported from the package. Attaches a mount that is not attached yet. The mount is unacknowledged until the caller calls the
 * function that is returned, when it returns the mount itself.
 */
export let attachFresh: (
	mount: HeldMount,
	target: Location,
	options: AttachOptions,
	more?: AttachMore,
) => Promise<() => void>;

/** For a tree that is attached mount by mount. */
export interface AttachMore {
	/** The target, if it was looked up already. */
	held?: HeldTarget | undefined;
	/** The mount namespace of the target, if it is open already. The caller closes it. */
	mountNamespace?: MountNamespace | undefined;
	below?: readonly Branch[];
	/** False if the descriptor was given to other code. */
	fresh?: boolean;
}

/** A mount that this process holds by a descriptor. It can be attached, unmounted and closed. */
export class HeldMount implements AsyncDisposable {
	readonly #mount: NewMount;
	#target: Location | undefined;
	#attached: Attachment | undefined;
	/** The promise of attach(), from its call on. unmount() waits for it. */
	#attaching: Promise<unknown> | undefined;
	#unmounting: Promise<void> | undefined;
	#unmounted = false;

	// `mount` is a NewMount. It is declared as an object, because the public declarations contain this constructor and not that type.
	/** `target`: where the mount is attached in this mount namespace, without mounts below it; undefined if it is detached. */
	protected constructor(mount: object, target: string | number | undefined) {
		// No other code has an object of that class.
		if (!((mount as Partial<NewMount> | undefined)?.descriptor instanceof Descriptor)) {
			throw illegalConstructor(new.target.name, "mountIdmapped() or overlay()");
		}
		this.#mount = mount as NewMount;
		this.#target = target;
		this.#attached = target === undefined ? undefined : ALONE;
	}

	/** The mount ID, as in the first column of /proc/PID/mountinfo. */
	get mountId(): number {
		return this.#mount.mountId;
	}

	/** The target as it was passed; undefined for a detached mount. */
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

	/** Whether `close()` or `unmount()` has closed the descriptor. */
	get closed(): boolean {
		return this.#mount.descriptor.closed;
	}

	/**
	 * Attaches a detached mount, once. Throws `ERR_USERNS_ATTACHED` for a second call, and if other code has attached the mount by
	 * its descriptor, because the kernel would move it. After another error the mount is still detached; after ETIMEDOUT of a
	 * container's file system, create another mount.
	 */
	async attach(target: string | number, options?: AttachOptions): Promise<void> {
		const checked = checkAttachOptions("attach", target, options);
		void this.fd; // throws if the mount is closed
		const tried = this.#tried(target);
		if (this.#attaching !== undefined || this.#attached !== undefined) {
			throw attachedError(tried, this.#target === undefined ? "another target" : showLocation(this.#target));
		}
		const acknowledge = await this.#attach(target, checked, { fresh: false });
		acknowledge();
	}

	static {
		attachFresh = (mount, target, options, more) => mount.#attach(target, options, more);
	}

	#tried(target: Location): string {
		const { source, words, mapping } = this.#mount;
		return triedTo(words ?? showLocation(source), showLocation(target), mapping);
	}

	async #attach(
		target: Location,
		options: AttachOptions,
		{ held: heldTarget, mountNamespace, below = [], fresh = true }: AttachMore = {},
	): Promise<() => void> {
		const { descriptor, mountId, uniqueId, mapping, recursive, propagation } = this.#mount;
		const tried = this.#tried(target);
		const held = native().duplicate(descriptor.fd); // close() can be called during the attach
		if (held.error < 0) throw mountError(tried, mapping, held);
		const attaching = attachTree(
			{ fd: held.fd, mountId, uniqueId, recursive, propagation, mapping, fresh, below },
			target,
			options,
			tried,
			heldTarget,
			mountNamespace,
		);
		this.#attaching = attaching;
		try {
			const { namespace, submounts } = await attaching;
			this.#attached = { namespace, submounts };
			this.#target = target;
			// unmount(path) recognises it by the record.
			if (mapping === "") recordMount(BigInt(uniqueId), showLocation(target));
			return () => {
				native().close(held.fd); // which acknowledges the mount
				if (descriptor.closed) namespace?.close(); // not before: the mount is undone in this namespace
			};
		} catch (error) {
			native().close(held.fd);
			throw error;
		} finally {
			this.#attaching = undefined;
		}
	}

	/**
	 * Unmounts the mount, in its mount namespace, and closes the descriptor. Open files of the mount can be used until they
	 * are closed. No other mount is unmounted: throws `ERR_USERNS_UNMOUNT` and changes nothing if another mount was made on this
	 * one since, or if other code in this process has closed the descriptor. If the mount is already unmounted or was never
	 * attached, only the descriptor is closed. A second call does nothing; after `close()` it throws `ERR_USERNS_CLOSED`.
	 */
	unmount(): Promise<void> {
		this.#unmounting ??= this.#unmount().finally(() => {
			this.#unmounting = undefined;
		});
		return this.#unmounting;
	}

	async #unmount(): Promise<void> {
		// A loop, because the caller can attach again after a failure, before this continues.
		while (this.#attaching !== undefined) await this.#attaching.catch(() => {});
		if (this.#unmounted) return;
		if (this.closed) {
			throw new UsernsError("ERR_USERNS_CLOSED", `the IdmappedMount at ${this.#where()} is closed`, {
				hint: "Unmount the path with unmount(path), and call unmount() instead of close() in the future.",
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

	/** Uses duplicates, because close() can be called meanwhile. */
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
			// Closing the last descriptor can shut the file system down, which takes time.
			if (fd >= 0 && descriptor.closed) await native().closeLater(fd);
			else if (fd >= 0) native().close(fd);
		}
	}

	/** Does not close a descriptor that other code has closed, because its number may be reused for another file. */
	#refuse(outcome: Pick<Outcome, "error" | "step">): never {
		const { descriptor } = this.#mount;
		const { fd } = descriptor;
		if (isForeign(outcome.error) && !descriptor.closed) {
			descriptor.wasClosed();
			native().unregister(fd);
		}
		throw detachError(outcome, fd, this.#where());
	}

	/** Closes the descriptor, which unmounts a detached mount. An attached mount stays attached. A second call does nothing. */
	close(): void {
		if (this.closed) return;
		this.#mount.descriptor.close();
		this.#attached?.namespace?.close();
	}

	/** Calls `unmount`, unless the mount is closed. */
	async [Symbol.asyncDispose](): Promise<void> {
		if (!this.closed) await this.unmount();
	}
}

/** Not exported from the package. Makes an IdmappedMount of a mount that was just created. */
export let adoptMount: (mount: NewMount, facts: MountFacts, target: Location | undefined) => IdmappedMount;

/** The properties of an IdmappedMount. */
interface MountFacts {
	mapping: Mapping;
	skipped: readonly SkippedMount[];
	warnings: readonly string[];
}

/**
 * An ID-mapped mount. In `mapping`, `containerID` is the ID on disk and `hostID` the ID visible through the mount.
 *
 * While its descriptor is open, umount(8) of the target fails with EBUSY (umount --lazy works). `close()` closes the
 * descriptor and leaves an attached mount attached; `unmount()` unmounts it.
 */
export class IdmappedMount extends HeldMount {
	/**
	 * The map of the mount, disk to visible. For a source that was ID-mapped it is the composed map; with `unmap` each ID is
	 * visible as it is on disk.
	 */
	readonly mapping: Mapping;
	/** The mounts below the source that are mounted without a map (`skipUnsupported`). */
	readonly skipped: readonly SkippedMount[];
	/**
	 * Warnings, one sentence each: the container of `into` has none of the visible IDs, or, with `others: "keep"`, an ID on disk is not
	 * visible.
	 */
	readonly warnings: readonly string[];

	private constructor(mount: NewMount, facts: MountFacts, target: Location | undefined) {
		super(mount, target);
		const { mapping, skipped, warnings } = facts; // after the check of the class above
		this.mapping = mapping;
		this.skipped = skipped.length === 0 ? NONE : Object.freeze([...skipped]);
		this.warnings = warnings.length === 0 ? NONE : Object.freeze([...warnings]);
	}

	static {
		adoptMount = (mount, facts, target) => new IdmappedMount(mount, facts, target);
	}
}

inspectAs(IdmappedMount.prototype, "IdmappedMount", ({ target, mountId, closed }) => ({
	target,
	mountId,
	closed,
}));
