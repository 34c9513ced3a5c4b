import { invalidArgument, show } from "../errors.ts";
import type { Extents } from "../mapping/extent.ts";
import { extentsOf, Mapping, type MappingInput } from "../mapping/mapping.ts";
import { copyOptions } from "../options.ts";

/** How a namespace is made, and what makes namespaces differ beside their mapping. */
export interface CreateOptions {
	/**
	 * Whether programs inside may call setgroups(2). `"deny"` unless said otherwise: dropping a group must not become
	 * a way around a file that the group may *not* read (CVE-2014-8989). It cannot be changed afterwards.
	 */
	setgroups?: "deny" | "allow" | undefined;
	/**
	 * Who writes the maps: `"direct"`, this process, which takes CAP_SETUID and CAP_SETGID, or a mapping of the own IDs
	 * alone; `"newuidmap"`, the set-uid programs newuidmap and newgidmap; `"auto"`, unless said otherwise, this process
	 * where the kernel lets it, and the programs where it does not.
	 */
	method?: CreateMethod | undefined;
}

export type CreateMethod = "auto" | "direct" | "newuidmap";

/** Everything that a creation needs to know. */
export interface CreateRequest {
	mapping: Mapping;
	setgroups: "deny" | "allow";
	method: CreateMethod;
}

function checkSetgroups(what: string, value: unknown): "deny" | "allow" {
	if (value === undefined) return "deny";
	if (value !== "deny" && value !== "allow") {
		throw invalidArgument(`${what}: setgroups must be "deny" or "allow", not ${show(value)}`);
	}
	return value;
}

function checkMethod(what: string, value: unknown): CreateMethod {
	if (value === undefined) return "auto";
	if (value !== "auto" && value !== "direct" && value !== "newuidmap") {
		throw invalidArgument(`${what}: method must be "auto", "direct" or "newuidmap", not ${show(value)}`);
	}
	return value;
}

function checkSignal(what: string, signal: unknown): AbortSignal | undefined {
	if (signal === undefined) return undefined;
	if (!(signal instanceof AbortSignal))
		throw invalidArgument(`${what}: signal must be an AbortSignal, not ${show(signal)}`);
	return signal;
}

const OPTIONS = ["setgroups", "method"] as const;
const OPTIONS_LATER = [...OPTIONS, "signal"] as const;

type LaterOptions = CreateOptions & { signal?: AbortSignal | undefined };

/** Checks mapping and options of every call that creates on the calling thread. */
export function checkCreate(
	what: string,
	mapping: MappingInput,
	options: CreateOptions | undefined,
): CreateRequest {
	return checked(what, mapping, copyOptions(what, options, OPTIONS));
}

/** The same for a call that returns a promise, including its signal. */
export function checkCreateLater(
	what: string,
	mapping: MappingInput,
	options: LaterOptions | undefined,
): [request: CreateRequest, signal: AbortSignal | undefined] {
	const copy = copyOptions<LaterOptions>(what, options, OPTIONS_LATER);
	return [checked(what, mapping, copy), checkSignal(what, copy.signal)];
}

function checked(what: string, mapping: MappingInput, { setgroups, method }: CreateOptions): CreateRequest {
	return {
		setgroups: checkSetgroups(what, setgroups),
		method: checkMethod(what, method),
		mapping: Mapping.from(mapping),
	};
}

/** At most one ID of each kind, the caller's own: what the kernel lets everybody map. */
export function isOneOwn(mapping: Mapping): boolean {
	const { uid, gid } = extentsOf(mapping);
	const one = (extents: Extents, own: number | undefined) =>
		extents.length === 0 || (extents.length === 1 && extents[0]?.size === 1 && extents[0].hostID === own);
	return one(uid, process.geteuid?.()) && one(gid, process.getegid?.());
}
