import type { Mapping, MappingInput } from "../mapping/mapping.ts";
import type { Descriptor } from "../native/descriptor.ts";
import { abortError } from "./abort.ts";
import { createDescriptor, createDescriptorSync } from "./create.ts";
import { type CreateOptions, checkCreate, type Wanted } from "./options.ts";
import type { Known } from "./reading.ts";
import { adoptNamespace, type UserNamespace } from "./user-namespace.ts";

interface Entry {
	descriptor: Descriptor;
	known: Known;
}

interface Waiter {
	resolve(namespace: UserNamespace): void;
	reject(error: unknown): void;
}

/** A creation under way, and who waits for it. */
interface Pending {
	waiters: Set<Waiter>;
	/** False once release() was called: what comes is handed out, but not kept. */
	keep: boolean;
	way: string;
}

/**
 * For this package's own files: the descriptor that a Handles has for a mapping, without a duplicate, so for the very
 * moment only; undefined when there is none.
 */
export let cachedDescriptor: (handles: Handles, mapping: Mapping) => number | undefined;

/**
 * The cache: one user namespace for each mapping, made at the first request, and a duplicate of its own for each
 * caller. Mappings that mean the same share one namespace, whatever the order or the split of their extents; what
 * makes namespaces differ beside the mapping (`setgroups`) keeps them apart here too.
 */
export class Handles implements Disposable {
	/** By `Mapping.id`, which a Mapping keeps: a key put together at each call would be hashed at each call. */
	readonly #cached: Record<Wanted["setgroups"], Map<string, Entry>> = { deny: new Map(), allow: new Map() };
	readonly #pending = new Map<string, Pending>();

	static {
		cachedDescriptor = (handles, { id }) => handles.#cached.deny.get(id)?.descriptor.fd;
	}

	/** How many namespaces are cached now. Those being made do not count yet. */
	get size(): number {
		return this.#cached.deny.size + this.#cached.allow.size;
	}

	/**
	 * A namespace with that mapping. The event loop never waits for its creation; simultaneous calls share one. A
	 * failure is not cached: the next call tries again. When the signal aborts, the promise rejects with an AbortError.
	 * Rejects as `UserNamespace.create` does.
	 */
	async get(
		mapping: MappingInput,
		options?: CreateOptions & { signal?: AbortSignal },
	): Promise<UserNamespace> {
		const { signal, ...wanted } = checkCreate("Handles.get", mapping, options, true);
		if (signal?.aborted) throw abortError(signal);
		const entry = this.#cached[wanted.setgroups].get(wanted.mapping.id);
		if (entry !== undefined) return handOut(entry);
		const way = wayOf(wanted);
		let pending = this.#pending.get(way);
		if (pending === undefined) {
			pending = { waiters: new Set(), keep: true, way };
			this.#pending.set(way, pending);
			void this.#make(wanted, pending);
		}
		return wait(pending, signal);
	}

	/** As `get`, on the calling thread. */
	getSync(mapping: MappingInput, options?: CreateOptions): UserNamespace {
		const wanted = checkCreate("Handles.getSync", mapping, options, false);
		const { id } = wanted.mapping;
		const cached = this.#cached[wanted.setgroups];
		let entry = cached.get(id);
		if (entry === undefined) {
			entry = { descriptor: createDescriptorSync(wanted, "Handles"), known: wanted };
			cached.set(id, entry);
		}
		return handOut(entry);
	}

	/**
	 * Closes the cache. What was handed out keeps working, what is being made reaches those who wait for it, and the
	 * same Handles can be used again.
	 */
	release(): void {
		for (const cached of Object.values(this.#cached)) {
			for (const { descriptor } of cached.values()) descriptor.close();
			cached.clear();
		}
		for (const pending of this.#pending.values()) pending.keep = false;
		this.#pending.clear();
	}

	[Symbol.dispose](): void {
		this.release();
	}

	/** Never rejects: whatever happens is told to those who wait. */
	async #make(wanted: Wanted, pending: Pending): Promise<void> {
		let entry: Entry;
		try {
			const descriptor = await createDescriptor(wanted, "Handles");
			entry = { descriptor, known: wanted };
		} catch (error) {
			this.#forget(pending);
			for (const waiter of pending.waiters) waiter.reject(error);
			return;
		}
		this.#forget(pending);
		const kept = pending.keep ? this.#keep(entry, pending.waiters.size > 0) : entry;
		for (const waiter of pending.waiters) {
			try {
				waiter.resolve(handOut(kept));
			} catch (error) {
				waiter.reject(error);
			}
		}
		if (this.#cached[wanted.setgroups].get(wanted.mapping.id) !== entry) entry.descriptor.close();
	}

	#forget(pending: Pending): void {
		if (this.#pending.get(pending.way) === pending) this.#pending.delete(pending.way);
	}

	/** Caches what was made, when somebody still wants it; a getSync() may have been faster, then that one stays. */
	#keep(made: Entry, wanted: boolean): Entry {
		const { id } = made.known.mapping;
		const cached = this.#cached[made.known.setgroups];
		const first = cached.get(id);
		if (first !== undefined) return first;
		if (wanted) cached.set(id, made);
		return made;
	}
}

/** A creation under way serves those who want it done in the same way: what one way cannot do, another may. */
function wayOf(wanted: Wanted): string {
	return `${wanted.method} ${wanted.setgroups} ${wanted.mapping.id}`;
}

function handOut({ descriptor, known }: Entry): UserNamespace {
	return adoptNamespace(descriptor.dup("UserNamespace", known.mapping.id), known);
}

function wait(pending: Pending, signal: AbortSignal | undefined): Promise<UserNamespace> {
	return new Promise((resolve, reject) => {
		if (signal === undefined) {
			pending.waiters.add({ resolve, reject });
			return;
		}
		const onAbort = () => {
			pending.waiters.delete(waiter);
			reject(abortError(signal));
		};
		const waiter: Waiter = {
			resolve: (namespace) => {
				signal.removeEventListener("abort", onAbort);
				resolve(namespace);
			},
			reject: (error) => {
				signal.removeEventListener("abort", onAbort);
				reject(error as Error);
			},
		};
		signal.addEventListener("abort", onAbort, { once: true });
		pending.waiters.add(waiter);
	});
}
