import { invalidArgument, show } from "../errors.ts";
import type { Extents } from "../mapping/extent.ts";
import { extentsOf, Mapping, type MappingInput } from "../mapping/mapping.ts";
import { copyOptions } from "../options.ts";

/** How a user namespace is created. */
export interface CreateOptions {
	/**
	 * Whether programs in the namespace may call setgroups(2) (default `"deny"`). It cannot be changed later. With
	 * `"allow"`, a program can drop a group and then open a file that denies access to that group (CVE-2014-8989).
	 */
	setgroups?: "deny" | "allow" | undefined;
	/**
	 * How the maps are written (default `"auto"`). `"direct"`: by this process, which needs CAP_SETUID and CAP_SETGID,
	 * except for a mapping of the caller's own IDs alone. `"newuidmap"`: by the set-user-ID programs newuidmap and newgidmap.
	 * `"auto"`: by this process if the kernel permits it, otherwise by those programs.
	 */
	method?: CreateMethod | undefined;
}

/** How the maps of a user namespace are written. */
export type CreateMethod = "auto" | "direct" | "newuidmap";

/** The checked arguments of a call that creates a user namespace. */
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
	if (!(signal instanceof AbortSignal)) {
		throw invalidArgument(`${what}: signal must be an AbortSignal, not ${show(signal)}`);
	}
	return signal;
}

type AsyncOptions = CreateOptions & { signal?: AbortSignal | undefined };

/** The names, complete by their type. */
const OPTIONS = Object.keys({ setgroups: true, method: true } satisfies Record<keyof CreateOptions, true>);
const ASYNC_OPTIONS = [...OPTIONS, "signal"];

/** Checks the arguments of a call that creates a namespace on the calling thread. */
export function checkCreate(
	what: string,
	mapping: MappingInput,
	options: CreateOptions | undefined,
): CreateRequest {
	return checked(what, mapping, copyOptions(what, options, OPTIONS));
}

/** Checks the arguments of a call that returns a promise, including its signal. */
export function checkCreateLater(
	what: string,
	mapping: MappingInput,
	options: AsyncOptions | undefined,
): [request: CreateRequest, signal: AbortSignal | undefined] {
	const copy = copyOptions<AsyncOptions>(what, options, ASYNC_OPTIONS);
	return [checked(what, mapping, copy), checkSignal(what, copy.signal)];
}

function checked(what: string, mapping: MappingInput, { setgroups, method }: CreateOptions): CreateRequest {
	return {
		setgroups: checkSetgroups(what, setgroups),
		method: checkMethod(what, method),
		mapping: Mapping.from(mapping),
	};
}

/** Whether the mapping has at most one ID of each kind, the caller's own. The kernel lets every user map that. */
export function isOneOwn(mapping: Mapping): boolean {
	const { uid, gid } = extentsOf(mapping);
	const one = (extents: Extents, own: number | undefined) =>
		extents.length === 0 || (extents.length === 1 && extents[0]?.size === 1 && extents[0].hostID === own);
	return one(uid, process.geteuid?.()) && one(gid, process.getegid?.());
}
