import type { IdKind } from "../mapping/extent.ts";
import type { Capability, DryCall, Facts } from "./facts.ts";

/** What was refused. */
export interface Refusal {
	/** The kind of the operation, by which the causes are chosen. */
	operation:
		| "create"
		| "in the namespace"
		| "write a map"
		| "newuidmap"
		| "mount"
		| "map a mount"
		| "join"
		| "run";
	/** The operation in a sentence: "mounting". */
	doing: string;
	/** The negative errno; EPERM if it is left out. */
	error?: number | undefined;
	/** The capabilities that the operation needs in the caller's own user namespace. */
	needs?: readonly Capability[];
	/** The system calls, in the order in which they were made. One of them failed. */
	calls?: readonly DryCall[];
	/** The program that failed, with its output. */
	helper?: { kind: IdKind; program: string | null; words: string };
}

export interface Cause {
	explains: readonly Refusal["operation"][];
	/** The errors that the cause explains; EPERM and EACCES if they are left out. */
	errors?: readonly number[];
	/** True if the cause is used only when no other is found, because its check is not certain. */
	last?: true;
	/** What was found; undefined if the cause does not apply. */
	check(facts: Facts, refusal: Refusal): string | undefined;
	/** What follows from it, as a part of a sentence. */
	consequence(refusal: Refusal, facts: Facts): string;
	/** What to do. */
	fix(facts: Facts, refusal: Refusal): string;
	/** A shell command for root that does it, if one can. */
	command?(facts: Facts, refusal: Refusal): string | undefined;
}

/** The calls of the operation that a filter refuses: the first ones, or the last one of alternatives. */
export function filtered(facts: Facts, { operation, calls = [] }: Refusal): DryCall[] {
	if (operation !== "create") return calls.filter((each) => facts.isFiltered(each));
	// clone(2) is only called if clone3(2) fails with ENOSYS, and a call that was not made may end the process.
	if (calls[0] === "clone3" && facts.since("clone3") === undefined && !facts.isFiltered("clone3")) return [];
	return calls.filter((each) => facts.isFiltered(each)).slice(-1);
}

/** The capabilities that the refused operation needs and this process lacks. */
export function missingCapabilities(facts: Facts, { needs = [] }: Pick<Refusal, "needs">): Capability[] {
	return needs.filter((each) => facts.has(each) === false);
}

/** Words in a list: "a, b and c". */
export function and(list: readonly string[]): string {
	return [list.slice(0, -1).join(", "), ...list.slice(-1)].filter((part) => part !== "").join(" and ");
}

/** Where capabilities outside the bounding set come from. */
export function boundingFix(missing: readonly Capability[]): string {
	const flags = missing.map((each) => `--cap-add ${each.slice("CAP_".length)}`).join(" ");
	return `Start the container with ${flags} (docker, podman), or the systemd unit with ${and(missing)} in CapabilityBoundingSet=`;
}
