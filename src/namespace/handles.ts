import type { MappingInput } from "../mapping/mapping.ts";
import type { Descriptor } from "../native/descriptor.ts";
import { abortError } from "./abort.ts";
import { createDescriptor, createDescriptorSync } from "./create.ts";
import { type CreateOptions, type CreateRequest, checkCreate, checkCreateLater } from "./create-options.ts";
import { Pending } from "./pending.ts";
import type { NamespaceMaps } from "./read-maps.ts";
import { adoptNamespace, type UserNamespace } from "./user-namespace.ts";

interface Entry {
	descriptor: Descriptor;
	maps: NamespaceMaps;
}

/**
 * The cache: one user namespace for each mapping, made at the first request, and a duplicate of its own for each
 * caller. Mappings that mean the same share one namespace, whatever the order or the split of their extents; what
 * makes namespaces differ beside the mapping (`setgroups`) keeps them apart here too.
 */
export class Handles implements Disposable {
	/** By the id of the mapping. A key with a prefix would be a second copy of the id, which may be long. */
	readonly #cached: Record<"deny" | "allow", Map<string, Entry>> = { deny: new Map(), allow: new Map() };
	/** By wayOf(). */
	readonly #pending = new Map<string, Pending<UserNamespace>>();

	/** How many namespaces are cached now. Those being made do not count yet. */
	get size(): number {
		return this.#cached.deny.size + this.#cached.allow.size;
	}

	/**
	 * A namespace with that mapping. The event loop never waits for its creation; simultaneous calls share one. A
	 * failure is not cached: the next call tries again. When the signal aborts, the promise rejects with an AbortError.
	 * Rejects as `UserNamespace.create` does.
	 */
	get(
		mapping: MappingInput,
		options?: CreateOptions & { signal?: AbortSignal | undefined },
	): Promise<UserNamespace> {
		// One promise, and whatever is thrown rejects it: an async function around it would make two more.
		return new Promise((resolve, reject) => {
			const [request, signal] = checkCreateLater("Handles.get", mapping, options);
			if (signal?.aborted) throw abortError(signal);
			const entry = this.#cached[request.setgroups].get(request.mapping.id);
			if (entry !== undefined) resolve(handOut(entry));
			else this.#underWay(request).add(resolve, reject, signal);
		});
	}

	/** As `get`, on the calling thread. */
	getSync(mapping: MappingInput, options?: CreateOptions): UserNamespace {
		const request = checkCreate("Handles.getSync", mapping, options);
		const cached = this.#cached[request.setgroups];
		let entry = cached.get(request.mapping.id);
		if (entry === undefined) {
			entry = { descriptor: createDescriptorSync(request, "Handles"), maps: request };
			cached.set(request.mapping.id, entry);
		}
		return handOut(entry);
	}

	/**
	 * Closes the cache. What was handed out keeps working, what is being made reaches those who wait for it, and the
	 * same Handles can be used again.
	 */
	release(): void {
		for (const cached of [this.#cached.deny, this.#cached.allow]) {
			for (const { descriptor } of cached.values()) descriptor.close();
			cached.clear();
		}
		for (const pending of this.#pending.values()) pending.keep = false;
		this.#pending.clear();
	}

	[Symbol.dispose](): void {
		this.release();
	}

	/** The creation of it, begun if there is none. */
	#underWay(request: CreateRequest): Pending<UserNamespace> {
		const way = wayOf(request);
		const before = this.#pending.get(way);
		if (before !== undefined) return before;
		const pending = new Pending<UserNamespace>();
		createDescriptor(request, "Handles", {
			resolve: (descriptor) => {
				this.#forget(way, pending);
				this.#hand(pending, { descriptor, maps: request });
			},
			reject: (error) => {
				this.#forget(way, pending);
				pending.reject(error);
			},
		});
		this.#pending.set(way, pending);
		return pending;
	}

	#hand(pending: Pending<UserNamespace>, made: Entry): void {
		const kept = pending.keep ? this.#keep(made, pending.wanted) : made;
		pending.resolve(() => handOut(kept));
		const { mapping, setgroups } = made.maps;
		if (this.#cached[setgroups].get(mapping.id) !== made) made.descriptor.close();
	}

	#forget(way: string, pending: Pending<UserNamespace>): void {
		if (this.#pending.get(way) === pending) this.#pending.delete(way);
	}

	/** Caches what was made, when somebody still wants it; a getSync() may have been faster, then that one stays. */
	#keep(made: Entry, wanted: boolean): Entry {
		const { mapping, setgroups } = made.maps;
		const first = this.#cached[setgroups].get(mapping.id);
		if (first !== undefined) return first;
		if (wanted) this.#cached[setgroups].set(mapping.id, made);
		return made;
	}
}

/** A creation under way serves those who want it done in the same way: what one way cannot do, another may. */
function wayOf(request: CreateRequest): string {
	const { method, setgroups, mapping } = request;
	// Usually the id itself, because a text that is put together is hashed at each call. No id begins with a word.
	return method === "auto" && setgroups === "deny" ? mapping.id : `${method} ${setgroups} ${mapping.id}`;
}

function handOut({ descriptor, maps }: Entry): UserNamespace {
	return adoptNamespace(descriptor.dup("UserNamespace", maps.mapping), maps);
}
