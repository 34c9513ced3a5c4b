import { UsernsError } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import { native } from "./addon.ts";
import { kernelError, shorten } from "./steps.ts";

interface Held {
	/** Negative: nothing is to be closed. */
	fd: number;
	what: string;
	/** What the mount that it is a descriptor of shows; null: of none now, but of one before, so that `shown` has it. */
	shows: Mapping | null | undefined;
}

/** Those of mounts, once and for all: what is known of them is found here without their owners being kept. */
const shown = new Set<Held>();

/** Closes what was forgotten, and says so: a descriptor that waits for the garbage collector is a mistake. */
const registry = new FinalizationRegistry<Held>((held) => {
	const { fd, what } = held;
	shown.delete(held);
	if (fd < 0) return; // a guard that nobody needed any more
	native().close(fd);
	process.emitWarning(
		`A ${what} was forgotten without close(); its descriptor ${fd} was closed by the garbage collector.`,
		{ type: "UsernsWarning", code: "USERNS_FORGOTTEN_DESCRIPTOR" },
	);
});

/**
 * What the garbage collector watches instead of the descriptor's owner: reachable through that one alone, so that both
 * are forgotten together. An entry in the registry costs as much as the system calls that it is for, so close() puts
 * the guard with its entry back for the next descriptor (docs/adr/031).
 */
class Guard {
	readonly held: Held = { fd: -1, what: "", shows: undefined };

	constructor() {
		registry.register(this, this.held);
	}
}

const idle: Guard[] = [];
/** As many as a burst opens and closes; what is beyond is left to the collector. */
const MOST_IDLE = 2048;

/** A descriptor with exactly one owner. Nobody sees its number after close(), so that none is closed twice. */
export class Descriptor {
	readonly #what: string;
	#guard: Guard | undefined;

	/**
	 * Takes over a descriptor that the C part made in this environment. `what` names its owner in messages; `shows`: the map
	 * of the mount that it is of.
	 */
	constructor(fd: number, what: string, shows?: Mapping) {
		const guard = idle.pop() ?? new Guard();
		const { held } = guard;
		held.fd = fd;
		held.what = what;
		if (shows !== undefined) {
			if (held.shows === undefined) shown.add(held);
			held.shows = shows;
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
				hint: "Take a dup() before close() where two places need it.",
			});
		}
		return this.#guard.held.fd;
	}

	/** A duplicate for another owner; `forWhom`: the mapping, for the message of a failure. */
	dup(what: string = this.#what, forWhom?: { readonly id: string }): Descriptor {
		const fd = native().copy(this.fd);
		if (fd < 0) {
			const mapping = forWhom?.id;
			const which = mapping === undefined ? "" : ` with the mapping ${shorten(mapping)}`;
			const tried = `cannot duplicate the descriptor of a user namespace${which}`;
			throw kernelError("ERR_USERNS_DESCRIPTOR", tried, { error: fd, step: "duplicate" }, { mapping });
		}
		return new Descriptor(fd, what);
	}

	/** Closes it; a second call does nothing. */
	close(): void {
		if (this.#guard === undefined) return;
		const { fd } = this.#guard.held;
		this.wasClosed();
		native().close(fd);
	}

	/** Closes it on another thread; a second call does nothing. */
	async closeLater(): Promise<void> {
		if (this.#guard === undefined) return;
		const { fd } = this.#guard.held;
		this.wasClosed();
		await native().closeLater(fd);
	}

	/** It is closed, by the C part or by other code. */
	wasClosed(): void {
		const guard = this.#guard;
		if (guard === undefined) return;
		this.#guard = undefined;
		const { held } = guard;
		held.fd = -1;
		if (held.shows !== undefined) held.shows = null;
		if (idle.length < MOST_IDLE) idle.push(guard);
	}
}

/** The descriptors of mounts that are open, and what each shows. */
export function* shownBy(): Generator<[fd: number, mapping: Mapping]> {
	for (const { fd, shows } of shown) if (shows) yield [fd, shows];
}
