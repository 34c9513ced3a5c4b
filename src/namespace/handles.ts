import { inspectAs } from "../mapping/inspect.ts";
import type { MappingInput } from "../mapping/mapping.ts";
import type { Descriptor } from "../native/descriptor.ts";
import { createDescriptor, createDescriptorSync } from "./create.ts";
import { type CreateOptions, type CreateRequest, checkCreate, checkCreateLater } from "./create-options.ts";
import { abortError, Pending } from "./pending.ts";
import type { NamespaceMaps } from "./read-maps.ts";
import { adoptNamespace, type UserNamespace } from "./user-namespace.ts";

interface Entry {
	descriptor: Descriptor;
	maps: NamespaceMaps;
}

/**
 * A cache of user namespaces, one for each mapping. The first request creates the namespace; each caller receives a
 * duplicate of its descriptor and must close it. Equal mappings share one namespace, whatever the order or the split of
 * their extents. Each value of `setgroups` has a separate entry.
 */
export class Handles implements Disposable {
	/** By the id of the mapping, because a key with a prefix would be a second copy of the id, which can be long. */
	readonly #cached: Record<"deny" | "allow", Map<string, Entry>> = { deny: new Map(), allow: new Map() };
	/** By pendingKey(). */
	readonly #pending = new Map<string, Pending<UserNamespace>>();

	/** The number of cached namespaces, without those that are being created. */
	get size(): number {
		return this.#cached.deny.size + this.#cached.allow.size;
	}

	/**
	 * Returns a user namespace with the mapping. The namespace is created on another thread, and simultaneous calls share one
	 * creation. A failure is not cached: the next call tries again. When the signal aborts, the promise rejects with an
	 * AbortError. Rejects with the errors of `UserNamespace.create`.
	 */
	get(
		mapping: MappingInput,
		options?: CreateOptions & { signal?: AbortSignal | undefined },
	): Promise<UserNamespace> {
		// One promise, which every error rejects. An async function would make two more.
		return new Promise((resolve, reject) => {
			const [request, signal] = checkCreateLater("Handles.get", mapping, options);
			if (signal?.aborted) throw abortError(signal);
			const entry = this.#cached[request.setgroups].get(request.mapping.id);
			if (entry !== undefined) resolve(duplicate(entry));
			else this.#create(request).add(resolve, reject, signal);
		});
	}

	/** Like `get`, on the calling thread. */
	getSync(mapping: MappingInput, options?: CreateOptions): UserNamespace {
		const request = checkCreate("Handles.getSync", mapping, options);
		const cached = this.#cached[request.setgroups];
		let entry = cached.get(request.mapping.id);
		if (entry === undefined) {
			entry = { descriptor: createDescriptorSync(request, "Handles"), maps: request };
			cached.set(request.mapping.id, entry);
		}
		return duplicate(entry);
	}

	/**
	 * Closes the cached descriptors. Namespaces that were returned stay open, a creation in progress still resolves the calls
	 * that wait for it, and the object can be used again.
	 */
	release(): void {
		for (const cached of [this.#cached.deny, this.#cached.allow]) {
			for (const { descriptor } of cached.values()) descriptor.close();
			cached.clear();
		}
		for (const pending of this.#pending.values()) pending.cache = false;
		this.#pending.clear();
	}

	/** Calls `release`. */
	[Symbol.dispose](): void {
		this.release();
	}

	/** The creation in progress for the request, started if there is none. */
	#create(request: CreateRequest): Pending<UserNamespace> {
		const key = pendingKey(request);
		const started = this.#pending.get(key);
		if (started !== undefined) return started;
		const pending = new Pending<UserNamespace>();
		createDescriptor(request, "Handles", {
			resolve: (descriptor) => {
				this.#end(key, pending);
				this.#resolve(pending, { descriptor, maps: request });
			},
			reject: (error) => {
				this.#end(key, pending);
				pending.reject(error);
			},
		});
		this.#pending.set(key, pending);
		return pending;
	}

	#resolve(pending: Pending<UserNamespace>, created: Entry): void {
		const entry = pending.cache ? this.#cache(created, pending.wanted) : created;
		pending.resolve(() => duplicate(entry));
		const { mapping, setgroups } = created.maps;
		if (this.#cached[setgroups].get(mapping.id) !== created) created.descriptor.close();
	}

	#end(key: string, pending: Pending<UserNamespace>): void {
		if (this.#pending.get(key) === pending) this.#pending.delete(key);
	}

	/** Caches an entry if a caller still waits for it. An entry that a getSync() has cached meanwhile stays. */
	#cache(created: Entry, wanted: boolean): Entry {
		const { mapping, setgroups } = created.maps;
		const first = this.#cached[setgroups].get(mapping.id);
		if (first !== undefined) return first;
		if (wanted) this.#cached[setgroups].set(mapping.id, created);
		return created;
	}
}

/**
 * Only calls with the same method and setgroups share a creation, because one method can fail where another succeeds. In most
 * cases the key is the mapping's own id, because V8 keeps the hash of that string. No id begins with a word.
 */
function pendingKey({ method, setgroups, mapping }: CreateRequest): string {
	return method === "auto" && setgroups === "deny" ? mapping.id : `${method} ${setgroups} ${mapping.id}`;
}

function duplicate({ descriptor, maps }: Entry): UserNamespace {
	return adoptNamespace(descriptor.dup("UserNamespace", maps.mapping), maps);
}

inspectAs(Handles.prototype, "Handles", ({ size }) => ({ size }));
