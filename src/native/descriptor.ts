import { UsernsError } from "../errors.ts";
import { native } from "./load.ts";
import { kernelError, shorten } from "./steps.ts";

interface Forgotten {
	fd: number;
	what: string;
}

/** Closes what was forgotten, and says so: a descriptor that waits for the garbage collector is a mistake. */
const registry = new FinalizationRegistry<Forgotten>(({ fd, what }) => {
	native().close(fd);
	process.emitWarning(
		`A ${what} was forgotten without close(); its descriptor ${fd} was closed by the garbage collector.`,
		{ type: "UsernsWarning", code: "USERNS_FORGOTTEN_DESCRIPTOR" },
	);
});

/** A descriptor with exactly one owner. Nobody sees its number after close(), so that none is closed twice. */
export class Descriptor {
	readonly #what: string;
	#fd: number;

	/** Takes over a descriptor that the C part made in this environment. `what` names its owner in messages. */
	constructor(fd: number, what: string) {
		this.#fd = fd;
		this.#what = what;
		registry.register(this, { fd, what }, this);
	}

	get closed(): boolean {
		return this.#fd < 0;
	}

	get fd(): number {
		if (this.#fd < 0) {
			throw new UsernsError("ERR_USERNS_CLOSED", `the ${this.#what} is closed`, {
				hint: "Take a dup() before close() where two places need it.",
			});
		}
		return this.#fd;
	}

	/** A duplicate for another owner; `mapping` is for the message of a failure. */
	dup(what: string = this.#what, mapping?: string): Descriptor {
		const outcome = native().duplicate(this.fd);
		if (outcome.error < 0) {
			const which = mapping === undefined ? "" : ` with the mapping ${shorten(mapping)}`;
			const tried = `cannot duplicate the descriptor of a user namespace${which}`;
			throw kernelError("ERR_USERNS_DESCRIPTOR", tried, outcome, { mapping });
		}
		return new Descriptor(outcome.fd, what);
	}

	/** Closes it; a second call does nothing. */
	close(): void {
		const fd = this.#fd;
		if (fd < 0) return;
		this.#fd = -1;
		registry.unregister(this);
		native().close(fd);
	}
}
