import { UsernsError } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import { native } from "./addon.ts";
import { kernelError, shorten } from "./steps.ts";

/** The state that a descriptor shares with its guard. */
interface Held {
	/** Negative if the descriptor is closed. */
	fd: number;
	what: string;
	/** The map of the descriptor's mount. Null if it is in `ofMounts` but is not a descriptor of a mount now. */
	map: Mapping | null | undefined;
}

/** The descriptors of mounts, without a reference to their owners. */
const ofMounts = new Set<Held>();

/** Closes a descriptor whose owner was collected, with a warning, because the program did not call close(). */
const registry = new FinalizationRegistry<Held>((held) => {
	const { fd, what } = held;
	ofMounts.delete(held);
	if (fd < 0) return; // the guard was not in use
	native().close(fd);
	process.emitWarning(`A ${what} was not closed; the garbage collector closed its descriptor ${fd}.`, {
		type: "UsernsWarning",
		code: "USERNS_FORGOTTEN_DESCRIPTOR",
	});
});

/**
 * The object that the registry watches in place of the descriptor. Only the descriptor refers to it, so both are collected
 * together. Registering costs as much time as the system calls of a descriptor, so close() returns the guard, still
 * registered, for the next descriptor (docs/adr/031).
 */
class Guard {
	readonly held: Held = { fd: -1, what: "", map: undefined };

	constructor() {
		registry.register(this, this.held);
	}
}

const idle: Guard[] = [];
/** The maximum number of guards for later descriptors. */
const MOST_IDLE = 2048;

/** A descriptor with exactly one owner. Its number cannot be read after close(), so it is never closed twice. */
export class Descriptor {
	readonly #what: string;
	#guard: Guard | undefined;

	/**
	 * Takes ownership of a descriptor that the add-on returned in this environment. `what` names the owner in messages; `map` is
	 * the map of a mount's descriptor.
	 */
	constructor(fd: number, what: string, map?: Mapping) {
		const guard = idle.pop() ?? new Guard();
		const { held } = guard;
		held.fd = fd;
		held.what = what;
		if (map !== undefined) {
			if (held.map === undefined) ofMounts.add(held);
			held.map = map;
		}
		this.#guard = guard;
		this.#what = what;
	}

	get closed(): boolean {
		return this.#guard === undefined;
	}

	get fd(): number {
		if (this.#guard === undefined) {
			throw new UsernsError("ERR_USERNS_CLOSED", `the ${this.#what} is closed`, {
				hint: "Call dup() before close() if two parts of the program use the descriptor.",
			});
		}
		return this.#guard.held.fd;
	}

	/** Duplicates the descriptor for another owner. A failure names `mapping`. */
	dup(what: string = this.#what, mapping?: { readonly id: string }): Descriptor {
		const fd = native().copy(this.fd);
		if (fd < 0) {
			const id = mapping?.id;
			const which = id === undefined ? "" : ` with the mapping ${shorten(id)}`;
			const tried = `cannot duplicate the descriptor of a user namespace${which}`;
			throw kernelError("ERR_USERNS_DESCRIPTOR", tried, { error: fd, step: "duplicate" }, { mapping: id });
		}
		return new Descriptor(fd, what);
	}

	/** Closes the descriptor. A second call does nothing. */
	close(): void {
		if (this.#guard === undefined) return;
		const { fd } = this.#guard.held;
		this.wasClosed();
		native().close(fd);
	}

	/** Like `close`, on another thread. */
	async closeLater(): Promise<void> {
		if (this.#guard === undefined) return;
		const { fd } = this.#guard.held;
		this.wasClosed();
		await native().closeLater(fd);
	}

	/** Marks the descriptor as closed, because the add-on or other code has closed it. */
	wasClosed(): void {
		const guard = this.#guard;
		if (guard === undefined) return;
		this.#guard = undefined;
		const { held } = guard;
		held.fd = -1;
		if (held.map !== undefined) held.map = null;
		if (idle.length < MOST_IDLE) idle.push(guard);
	}
}

/** Yields the open descriptors of mounts, with the map of each mount. */
export function* mountDescriptors(): Generator<[fd: number, map: Mapping]> {
	for (const { fd, map } of ofMounts) if (map) yield [fd, map];
}
