import { existsSync } from "node:fs";
import { invalidArgument, show, UsernsError } from "../errors.ts";
import { type Extents, type IdKind, showRanges } from "../mapping/extent.ts";
import { CLONE_NEW } from "../native/addon.ts";
import { copyOptions, ownMap } from "../options.ts";
import { type EnterOptions, type JoinedNamespaces, KINDS, type NamespaceKind } from "./enter-options.ts";
import { isPid } from "./open.ts";
import type { NamespaceMaps } from "./read-maps.ts";

/** NGROUPS_MAX in include/uapi/linux/limits.h. */
const MOST_GROUPS = 65536;

/** The user namespace of a program, which is not that of this process: its descriptor and its maps. */
export interface EnterTarget {
	readonly fd: number;
	readonly maps: NamespaceMaps;
}

/** The checked EnterOptions, as userns-enter takes them. */
export interface EnterRequest {
	uid: number;
	gid: number;
	/** Undefined: setgroups(2) is not called in the namespace. */
	groups: readonly number[] | "keep" | undefined;
	/** CLONE_NEW… flags. */
	unshare: number;
	/** `all`: a kind is left out if the process is in the caller's own namespace of that kind. */
	join: { pid: number; kinds: readonly NamespaceKind[]; all: boolean } | undefined;
	noNewPrivs: boolean;
}

function fileOf(kind: NamespaceKind): string {
	return `/proc/self/ns/${kind === "mount" ? "mnt" : kind}`;
}

/** Whether the kernel was built without that kind. The file of user namespaces shows that /proc can be read. */
function isMissing(kind: NamespaceKind): boolean {
	return !existsSync(fileOf(kind)) && existsSync("/proc/self/ns/user");
}

/**
 * Throws for a kind of namespace that the kernel was built without: unshare(2) would be a bare EINVAL, and the program of `exec`
 * replaces this process before that call.
 */
function refuseMissing(what: string, kind: NamespaceKind): void {
	if (!isMissing(kind)) return;
	throw new UsernsError(
		"ERR_USERNS_UNSUPPORTED_KERNEL",
		`${what}: this kernel has no ${kind} namespaces: there is no ${fileOf(kind)}`,
		{
			hint: `Use a kernel that was built with ${kind} namespaces, or leave out that kind.`,
		},
	);
}

/** Checks the EnterOptions. Each ID must be mapped, because a process with an unmapped ID would run as the overflow user. */
export function enterRequest(what: string, options: EnterOptions, target: EnterTarget): EnterRequest {
	const unshare = flagsOf(what, "unshare", options.unshare);
	const join = checkJoin(what, options.join, unshare);
	const both = join?.kinds.find((kind) => (unshare & CLONE_NEW[kind]) !== 0);
	if (both !== undefined) {
		throw invalidArgument(
			`${what}: join and unshare both name the kind ${both}`,
			"Leave the kind out of one of them: the program is in one namespace of each kind.",
		);
	}
	const own = ownIds(target);
	const uid = pickId(what, "uid", options.uid ?? own?.uid, target);
	const gid = pickId(what, "gid", options.gid ?? (uid === own?.uid ? own.gid : undefined), target);
	const groups = pickGroups(what, options.groups, target);
	return { uid, gid, groups, unshare, join, noNewPrivs: options.noNewPrivs ?? false };
}

function checkKinds(what: string, option: string, kinds: unknown): NamespaceKind[] {
	if (!Array.isArray(kinds)) {
		throw invalidArgument(`${what}: ${option} must be an array of kinds, not ${show(kinds)}`);
	}
	return ownMap(kinds, (kind) => {
		if (!KINDS.includes(kind as NamespaceKind)) {
			throw invalidArgument(
				`${what}: unknown kind of namespace ${show(kind)} in ${option}`,
				`The kinds are: ${KINDS.join(", ")}.`,
			);
		}
		refuseMissing(what, kind as NamespaceKind);
		return kind as NamespaceKind;
	});
}

function flagsOf(what: string, option: string, kinds: unknown): number {
	if (kinds === undefined) return 0;
	return checkKinds(what, option, kinds).reduce((flags, kind) => flags | CLONE_NEW[kind], 0);
}

function checkJoin(what: string, join: unknown, unshare: number): EnterRequest["join"] {
	if (join === undefined) return undefined;
	const { pid, kinds } = copyOptions<Partial<JoinedNamespaces>>(`${what}: join`, join, ["pid", "kinds"]);
	if (!isPid(pid)) {
		throw invalidArgument(
			`${what}: the pid of join must be a whole number from 1 to 2147483647, not ${show(pid)}`,
		);
	}
	if (kinds !== "all") return { pid, kinds: checkKinds(what, "join", kinds), all: false };
	return {
		pid,
		kinds: KINDS.filter((kind) => !isMissing(kind) && (unshare & CLONE_NEW[kind]) === 0),
		all: true,
	};
}

function checkId(what: string, name: string, id: unknown): number {
	if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > 0xfffffffe) {
		throw invalidArgument(`${what}: ${name} must be a whole number from 0 to 4294967294, not ${show(id)}`);
	}
	return id;
}

/**
 * The IDs of an ordinary caller in the namespace, with which files belong to the caller outside; undefined if one is not mapped. Root of
 * a host has none, because a program with that ID would be root of the host.
 */
function ownIds({ maps: { mapping } }: EnterTarget): { uid: number; gid: number } | undefined {
	const caller = process.geteuid?.() ?? 0;
	const uid = mapping.uidToContainer(caller);
	const gid = mapping.gidToContainer(process.getegid?.() ?? 0);
	return caller === 0 || uid === undefined || gid === undefined ? undefined : { uid, gid };
}

function pickId(what: string, kind: IdKind, given: unknown, { maps: { mapping } }: EnterTarget): number {
	const callers = (kind === "uid" ? process.geteuid?.() : process.getegid?.()) ?? 0;
	const extents = kind === "uid" ? mapping.uidMappings : mapping.gidMappings;
	const isMapped = (id: number) =>
		(kind === "uid" ? mapping.uidToHost(id) : mapping.gidToHost(id)) !== undefined;
	if (given !== undefined) {
		const id = checkId(what, kind, given);
		if (!isMapped(id))
			throw unmapped(`${what}: the ${kind} ${id} is not mapped in the user namespace`, extents, kind);
		return id;
	}
	if (isMapped(0)) return 0;
	const same = kind === "uid" ? mapping.uidToContainer(callers) : mapping.gidToContainer(callers);
	if (same !== undefined) return same;
	throw unmapped(
		`${what}: neither ${kind} 0 nor the caller's own ${kind} is mapped in the user namespace`,
		extents,
		kind,
	);
}

function unmapped(message: string, extents: Extents, kind: IdKind): UsernsError {
	return new UsernsError("ERR_USERNS_UNMAPPED_ID", message, {
		hint:
			extents.length === 0
				? `Map a ${kind} too, such as ${kind[0]}:0:1000:1 in the mapping, or use a user namespace whose ${kind}_map is not empty.`
				: `Choose a ${kind} that the user namespace maps: ${showRanges(extents, "containerID")}.`,
	});
}

function pickGroups(what: string, groups: unknown, { maps }: EnterTarget): EnterRequest["groups"] {
	const { mapping, setgroups } = maps;
	if (groups === undefined) return setgroups === "allow" ? [] : undefined;
	if (groups === "keep") return groups;
	if (!Array.isArray(groups) || groups.length > MOST_GROUPS) {
		throw invalidArgument(
			`${what}: groups must be "keep" or an array of at most ${MOST_GROUPS} gids, not ${show(groups)}`,
		);
	}
	const list = ownMap(groups, (gid, index) => checkId(what, `groups[${index}]`, gid));
	if (setgroups === "deny") {
		throw invalidArgument(
			`${what}: groups cannot be set, because the user namespace denies setgroups`,
			'Create the namespace with { setgroups: "allow" }, or leave groups out.',
		);
	}
	for (const gid of list) {
		if (mapping.gidToHost(gid) === undefined) {
			throw unmapped(
				`${what}: the group ${gid} is not mapped in the user namespace`,
				mapping.gidMappings,
				"gid",
			);
		}
	}
	return list;
}
