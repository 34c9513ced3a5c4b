import type { IdKind } from "../mapping/extent.ts";
import { STATUS } from "../native/process-status.ts";
import { isReadDenied } from "../permission.ts";
import { type Capability, type DryCall, Facts } from "./facts.ts";

/*
 * The causes for which the kernel refuses an operation of this package with EPERM. Each one is found by reading, or by a call
 * without an effect, never from the error number alone.
 */

/** What was refused. */
export interface Refusal {
	/** The kind of the operation, by which the causes are chosen. */
	operation: "create" | "in the namespace" | "write a map" | "mount" | "map a mount" | "join" | "run";
	/** The operation in a sentence: "mounting". */
	doing: string;
	/** The capabilities that it needs in the caller's own user namespace. */
	needs?: readonly Capability[];
	/** The system calls of which one has failed, in the order in which they were made. */
	calls?: readonly DryCall[];
}

interface Cause {
	explains: readonly Refusal["operation"][];
	/** What was found; undefined if the cause does not apply. */
	check(facts: Facts, refusal: Refusal): string | undefined;
	/** What follows from it, as a part of a sentence. */
	consequence(refusal: Refusal): string;
	/** What to do. */
	fix(facts: Facts, refusal: Refusal): string;
}

export type CauseId =
	| "unprivileged-userns-clone"
	| "apparmor-userns"
	| "chroot"
	| "unmapped-own-id"
	| "missing-capability"
	| "foreign-mount-namespace"
	| "foreign-file-system"
	| "seccomp-filter";

const USERNS_CLONE = "/proc/sys/kernel/unprivileged_userns_clone";
const APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/** The causes that a sysctl makes, which `ERR_USERNS_RESTRICTED` is for. */
export const SYSCTL_CAUSES: readonly CauseId[] = ["unprivileged-userns-clone", "apparmor-userns"];

/** The capabilities that the refused operation needs and this process lacks. */
export function missingCapabilities(facts: Facts, { needs = [] }: Pick<Refusal, "needs">): Capability[] {
	return needs.filter((each) => facts.has(each) === false);
}

function filtered(facts: Facts, { calls = [] }: Refusal): DryCall | undefined {
	// clone(2) is only called if clone3(2) fails with ENOSYS, and a call that was not made may end the process.
	return calls[0] === "clone3" && !facts.isFiltered("clone3")
		? undefined
		: calls.findLast((each) => facts.isFiltered(each));
}

/** Neither sysctl affects a process with CAP_SYS_ADMIN in the initial user namespace. */
function isPrivileged(facts: Facts): boolean {
	const admin = facts.has("CAP_SYS_ADMIN");
	return admin === undefined ? facts.isRoot : admin && facts.isInitial !== false;
}

function sysctl(facts: Facts, file: string, forbids: string): string | undefined {
	return !isPrivileged(facts) && facts.read(file) === forbids ? `it is ${forbids}` : undefined;
}

function and(list: readonly string[]): string {
	return [list.slice(0, -1).join(", "), ...list.slice(-1)].filter((part) => part !== "").join(" and ");
}

/** Where missing capabilities come from: the first place that lacks them. */
function capabilityFix(facts: Facts, refusal: Refusal): string {
	const missing = missingCapabilities(facts, refusal);
	const names = and(missing);
	if (missing.every((each) => facts.has(each, "CapPrm"))) {
		return `Add ${names} to the effective set of this process (capset(2))`;
	}
	if (missing.some((each) => facts.has(each, "CapBnd") === false)) {
		const flags = missing.map((each) => `--cap-add ${each.slice("CAP_".length)}`).join(" ");
		return `Start the container with ${flags} (docker, podman), or the systemd unit with ${names} in CapabilityBoundingSet=`;
	}
	if (!facts.isRoot) return "Run it as root";
	return `Start the program without the secure bit noroot, and do not drop ${names}`;
}

function capabilityEvidence(facts: Facts, refusal: Refusal): string | undefined {
	const missing = missingCapabilities(facts, refusal);
	if (missing.length === 0) return undefined;
	const outside = missing.filter((each) => facts.has(each, "CapBnd") === false);
	const only = outside.length === missing.length ? "" : `${and(outside)} `;
	const where = outside.length === 0 ? "" : `, ${only}even in its bounding set`;
	return `this process has uid ${facts.euid} and lacks ${and(missing)}${where}`;
}

/** In the order in which the hint gives them. docs/errors.md describes each one. */
export const causes: Readonly<Record<CauseId, Cause>> = {
	// A patch of Debian, Arch and linux-hardened.
	"unprivileged-userns-clone": {
		explains: ["create"],
		check: (facts) => sysctl(facts, USERNS_CLONE, "0"),
		consequence: () => "a process without CAP_SYS_ADMIN cannot create a user namespace then",
		fix: () => `Let root write 1 to ${USERNS_CLONE}`,
	},
	// Ubuntu since 23.10: without a profile that permits it, the creation is refused or gives no capabilities in the namespace.
	"apparmor-userns": {
		explains: ["create", "in the namespace", "write a map"],
		check: (facts) => sysctl(facts, APPARMOR, "1"),
		consequence: () =>
			"a program without such a profile has no capabilities in a user namespace that it creates then",
		fix: () =>
			`Let root add a profile with the rule "userns," for this program to /etc/apparmor.d/, or write 0 to ${APPARMOR}`,
	},
	// current_chrooted() in create_user_ns(), kernel/user_namespace.c.
	chroot: {
		explains: ["create"],
		check: (facts) => facts.chroot(),
		consequence: () => "no user namespace can be created after chroot(2)",
		fix: () =>
			"Start the program outside the chroot, or change the root with pivot_root(2) (bwrap, systemd-nspawn, a container)",
	},
	// kuid_has_mapping() and kgid_has_mapping() in the same function.
	"unmapped-own-id": {
		explains: ["create"],
		check: (facts) => {
			const found = (["uid", "gid"] as const).flatMap((kind: IdKind) => {
				const id = facts.unmapped(kind);
				return id === undefined ? [] : [`${kind} ${id}`];
			});
			return found.length === 0
				? undefined
				: `the effective ${and(found)} of this process ${found.length === 1 ? "is" : "are"} not mapped in its user namespace`;
		},
		consequence: () => "the owner of a user namespace must be mapped",
		fix: () =>
			"Change to IDs that /proc/self/uid_map and /proc/self/gid_map list, for example with setpriv --reuid 0 --regid 0",
	},
	"missing-capability": {
		explains: ["write a map", "mount", "map a mount", "join"],
		check: capabilityEvidence,
		consequence: ({ doing }) => `${doing} needs it`,
		fix: capabilityFix,
	},
	// may_mount() in fs/namespace.c: the capability counts in the user namespace that owns the mount namespace.
	"foreign-mount-namespace": {
		explains: ["mount"],
		check: (facts, refusal) =>
			facts.has("CAP_SYS_ADMIN") && facts.isInitial === false && filtered(facts, refusal) === undefined
				? "this process has CAP_SYS_ADMIN only in its own user namespace, which does not own its mount namespace"
				: undefined,
		consequence: ({ doing }) => `${doing} needs it in the owner of the mount namespace`,
		fix: () => "Run it as root outside this user namespace, for example as root of the host",
	},
	// ns_capable(sb->s_user_ns) in can_idmap_mount(), fs/namespace.c.
	"foreign-file-system": {
		explains: ["map a mount"],
		check: (facts, refusal) =>
			facts.has("CAP_SYS_ADMIN") && facts.isInitial === false && filtered(facts, refusal) === undefined
				? "this process has CAP_SYS_ADMIN only in its own user namespace, and the file system was mounted outside it"
				: undefined,
		consequence: ({ doing }) => `${doing} needs it in the user namespace that owns the file system`,
		fix: () => "Run it as root outside this user namespace, for example as root of the host",
	},
	"seccomp-filter": {
		explains: ["create", "in the namespace", "mount", "map a mount", "join", "run"],
		check: (facts, refusal) => {
			const call = filtered(facts, refusal);
			return call && `the filter refuses even a ${call}(2) that the kernel answers with another error`;
		},
		consequence: ({ doing }) => `${doing} needs the call`,
		fix: (facts, refusal) =>
			`Allow ${filtered(facts, refusal)}(2) in the seccomp filter of this process (docker run --security-opt seccomp=FILE; SystemCallFilter= or RestrictNamespaces= of systemd)`,
	},
};

/** The causes that apply to a refusal, each as one sentence: what to do, what was found, and what follows from it. */
export function findCauses(refusal: Refusal, facts: Facts = new Facts()): { id: CauseId; hint: string }[] {
	return (Object.entries(causes) as [CauseId, Cause][]).flatMap(([id, cause]) => {
		const evidence = cause.explains.includes(refusal.operation) ? cause.check(facts, refusal) : undefined;
		if (evidence === undefined) return [];
		return [{ id, hint: `${cause.fix(facts, refusal)}: ${evidence}, and ${cause.consequence(refusal)}.` }];
	});
}

/** The hint for a refusal; undefined if no cause is found. */
export function causeHint(refusal: Refusal, facts?: Facts): string | undefined {
	const found = findCauses(refusal, facts).map(({ hint }) => hint);
	return found.length === 0 ? undefined : found.join(" ");
}

/** The hint if no cause is found: what remains. chroot(2) into a mount is found only if another process shows that mount elsewhere. */
export function remainingHint(operation?: Refusal["operation"], facts: Facts = new Facts()): string {
	if (facts.has("CAP_SYS_ADMIN") === undefined) {
		if (isReadDenied(STATUS))
			return "Start Node.js with --allow-fs-read=/proc, without which the cause cannot be found.";
		return "Mount a procfs of this pid namespace at /proc: the cause cannot be found without it.";
	}
	const chroot = operation === "create" ? "whether this process runs after chroot(2), and " : "";
	return `Check ${chroot}the security modules of this machine (AppArmor, SELinux, Landlock): no other cause of the refusal was found.`;
}
