import type { IdKind } from "../mapping/extent.ts";
import { ERRNO } from "../native/errno.ts";
import { and, boundingFix, type Cause, filtered, missingCapabilities, type Refusal } from "./cause.ts";
import type { Facts } from "./facts.ts";

export type KernelCauseId =
	| "unprivileged-userns-clone"
	| "apparmor-userns"
	| "chroot"
	| "unmapped-own-id"
	| "namespaces-off"
	| "namespace-limit"
	| "ancestor-limit"
	| "process-limit"
	| "no-user-namespaces"
	| "missing-capability"
	| "foreign-mount-namespace"
	| "foreign-file-system"
	| "seccomp-filter"
	| "old-kernel"
	| "proc-read-only"
	| "memfd-noexec"
	| "file-size-limit"
	| "security-module"
	| "apparmor-profile";

const USERNS_CLONE = "/proc/sys/kernel/unprivileged_userns_clone";
const APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
const LIMIT = "/proc/sys/user/max_user_namespaces";
const MEMFD = "/proc/sys/vm/memfd_noexec";
/** The limit of a new user namespace (INT_MAX in create_user_ns()), which only an ancestor can lower. */
const NO_LIMIT = 2147483647;

/** The causes that are sysctls, for which the code is `ERR_USERNS_RESTRICTED`. */
export const SYSCTL_CAUSES: readonly string[] = ["unprivileged-userns-clone", "apparmor-userns"];

/** Neither sysctl affects a process with CAP_SYS_ADMIN in the initial user namespace. */
function isPrivileged(facts: Facts): boolean {
	const admin = facts.has("CAP_SYS_ADMIN");
	return admin === undefined ? facts.isRoot : admin && facts.isInitial !== false;
}

function sysctl(facts: Facts, file: string, forbids: string): string | undefined {
	const name = file.slice("/proc/sys/".length).replaceAll("/", ".");
	return !isPrivileged(facts) && facts.read(file) === forbids ? `${name} is ${forbids}` : undefined;
}

/** Where missing capabilities come from: the first place that lacks them. */
function capabilityFix(facts: Facts, refusal: Refusal): string {
	const missing = missingCapabilities(facts, refusal);
	const names = and(missing);
	if (missing.every((each) => facts.has(each, "CapPrm"))) {
		return `Add ${names} to the effective set of this process (capset(2))`;
	}
	if (missing.some((each) => facts.has(each, "CapBnd") === false)) return boundingFix(missing);
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

const names = (calls: readonly string[]) => and(calls.map((call) => `${call}(2)`));

/** A limit that refuses a user namespace, with the value of this user namespace. */
function limit(facts: Facts, fits: (most: number) => boolean): string | undefined {
	const text = facts.read(LIMIT);
	return text !== undefined && fits(Number(text)) ? text : undefined;
}

const isForeign = (facts: Facts, refusal: Refusal) =>
	facts.has("CAP_SYS_ADMIN") === true && facts.isInitial === false && filtered(facts, refusal).length === 0;

function securityModule({ profile, context }: Facts): string {
	if (profile !== undefined) return `the profile is ${profile}`;
	return context === undefined ? "such as Landlock" : `the SELinux context is ${context}`;
}

/**
 * The profile that can refuse something. One in the mode "unconfined" refuses nothing. Ubuntu's sysctl gives "unprivileged_userns" to the
 * programs in a user namespace of a program without a profile.
 */
function confinement({ profile }: Facts): string | undefined {
	return profile === undefined || / \(unconfined\)$|^unprivileged_userns /.test(profile)
		? undefined
		: profile;
}

const LIMIT_ERRORS = [ERRNO.ENOSPC, ERRNO.EUSERS];

/** The causes for which the kernel refuses a call, in the order in which a hint gives them. */
export const kernelCauses: Readonly<Record<KernelCauseId, Cause>> = {
	// A patch of Debian, Arch and linux-hardened.
	"unprivileged-userns-clone": {
		explains: ["create"],
		check: (facts) => sysctl(facts, USERNS_CLONE, "0"),
		consequence: () => "a process without CAP_SYS_ADMIN cannot create a user namespace",
		fix: () => `Let root write 1 to ${USERNS_CLONE}`,
		command: () => `echo 1 > ${USERNS_CLONE}`,
	},
	// Ubuntu since 23.10: without a profile that permits it, the creation is refused or gives no capabilities in the namespace.
	"apparmor-userns": {
		explains: ["create", "in the namespace", "write a map"],
		// A process with a profile has what the profile says, which may permit it: see apparmor-profile.
		check: (facts, { operation }) =>
			confinement(facts) !== undefined || (operation === "in the namespace" && facts.profile !== undefined)
				? undefined
				: sysctl(facts, APPARMOR, "1"),
		consequence: () =>
			"a program without a profile that permits it has no capabilities in a user namespace that it creates",
		fix: () =>
			`Let root add a profile with the rule "userns," for this program to /etc/apparmor.d/, or write 0 to ${APPARMOR}`,
		command: () => `echo 0 > ${APPARMOR}`,
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
	"namespaces-off": {
		explains: ["create"],
		errors: LIMIT_ERRORS,
		check: (facts) => limit(facts, (most) => most === 0) && `${LIMIT} is 0`,
		consequence: () => "no user namespace can be created",
		fix: () => 'Let root enable user namespaces, for example "sysctl user.max_user_namespaces=15000"',
		command: () => `echo 15000 > ${LIMIT}`,
	},
	"namespace-limit": {
		explains: ["create"],
		errors: LIMIT_ERRORS,
		check: (facts) => {
			const most = limit(facts, (value) => value > 0 && value < NO_LIMIT);
			return most && `${LIMIT} is ${most}`;
		},
		consequence: (_, facts) =>
			`this user has created that many${facts.isInitial === false ? ", or an ancestor namespace has reached its limit" : ""}, or they are nested 32 deep`,
		fix: () => `Close unused user namespaces, or let root raise ${LIMIT}`,
		command: (facts) => `echo ${Number(facts.read(LIMIT)) * 2 + 1000} > ${LIMIT}`,
	},
	// The limits of ancestors and the depth are not visible from inside (NS_GET_PARENT: EPERM).
	"ancestor-limit": {
		explains: ["create"],
		errors: LIMIT_ERRORS,
		check: (facts) =>
			limit(facts, (most) => most === NO_LIMIT) && "this user namespace has no limit of its own",
		consequence: () => "the limit of an ancestor, or the depth of 32, is reached",
		fix: () =>
			"Start the program outside the sandbox that forbids it (bwrap --disable-userns, Flatpak), or in fewer nested namespaces",
	},
	"process-limit": {
		explains: ["create"],
		errors: [ERRNO.EAGAIN],
		check: (facts) => facts.processLimit()?.text ?? "a limit on processes is reached",
		consequence: () => "a creation starts a process",
		fix: () =>
			"End processes, or raise their limit: RLIMIT_NPROC (ulimit -u), the cgroup's pids.max, /proc/sys/kernel/threads-max",
		command: (facts) =>
			facts.processLimit()?.isOwn ? `prlimit --pid ${process.pid} --nproc=unlimited` : undefined,
	},
	"no-user-namespaces": {
		explains: ["create"],
		errors: [ERRNO.EINVAL],
		check: (facts) =>
			facts.isInitial === undefined && facts.has("CAP_SYS_ADMIN") !== undefined
				? "/proc/self/ns/user does not exist"
				: undefined,
		consequence: () => "this kernel has no user namespaces",
		fix: () => "Use a kernel with user namespaces (CONFIG_USER_NS)",
	},
	"missing-capability": {
		explains: ["write a map", "mount", "map a mount", "join"],
		check: capabilityEvidence,
		consequence: (refusal, facts) =>
			`${refusal.doing} needs ${missingCapabilities(facts, refusal).length > 1 ? "them" : "it"}`,
		fix: capabilityFix,
	},
	// may_mount() in fs/namespace.c: the capability counts in the user namespace that owns the mount namespace.
	"foreign-mount-namespace": {
		explains: ["mount"],
		check: (facts, refusal) =>
			isForeign(facts, refusal)
				? "this process has CAP_SYS_ADMIN only in its own user namespace, which does not own its mount namespace"
				: undefined,
		consequence: ({ doing }) =>
			`${doing} needs the capability in the user namespace that owns the mount namespace`,
		fix: () => "Run it as root outside this user namespace, for example as root of the host",
	},
	// ns_capable(sb->s_user_ns) in can_idmap_mount(), fs/namespace.c.
	"foreign-file-system": {
		explains: ["map a mount"],
		check: (facts, refusal) =>
			isForeign(facts, refusal)
				? "this process has CAP_SYS_ADMIN only in its own user namespace, and the file system was mounted outside it"
				: undefined,
		consequence: ({ doing }) =>
			`${doing} needs the capability in the user namespace that owns the file system`,
		fix: () => "Run it as root outside this user namespace, for example as root of the host",
	},
	"seccomp-filter": {
		explains: ["create", "in the namespace", "mount", "map a mount", "join", "run"],
		check: (facts, refusal) => {
			const calls = filtered(facts, refusal);
			return calls.length === 0
				? undefined
				: `the seccomp filter refuses even a call of ${names(calls)} that the kernel would reject with another error`;
		},
		consequence: ({ doing }) => `${doing} needs the call`,
		fix: (facts, refusal) =>
			`Allow ${names(filtered(facts, refusal))} in the seccomp filter of this process (docker run --security-opt seccomp=FILE; SystemCallFilter= or RestrictNamespaces= of systemd)`,
	},
	"proc-read-only": {
		explains: ["write a map"],
		errors: [ERRNO.EROFS],
		check: () => "/proc is mounted read-only",
		consequence: () => "the maps are written there",
		fix: () => "Remount /proc writable",
		command: () => "mount -o remount,rw /proc",
	},
	"old-kernel": {
		explains: ["mount", "map a mount", "run"],
		check: (facts, { calls = [] }) => {
			const call = calls.find((each) => facts.since(each) !== undefined);
			return (
				call && `this is Linux ${facts.sources.release}, and ${call}(2) needs Linux ${facts.since(call)}`
			);
		},
		consequence: ({ doing }) => `${doing} needs the call`,
		fix: () => "Use a newer kernel",
	},
	// A sysctl of the pid namespace (Documentation/admin-guide/sysctl/vm.rst): the programs of this package are in memory files.
	"memfd-noexec": {
		explains: ["run"],
		errors: [ERRNO.EACCES],
		check: (facts) => (facts.read(MEMFD) === "2" ? `${MEMFD} is 2` : undefined),
		consequence: ({ doing }) => `${doing} executes a memory file`,
		fix: () => 'Set the sysctl vm.memfd_noexec to 0 or 1: "sysctl vm.memfd_noexec=1"',
		command: () => `echo 1 > ${MEMFD}`,
	},
	"file-size-limit": {
		explains: ["run"],
		errors: [ERRNO.EFBIG],
		check: (facts) => {
			const most = facts.limit("file size");
			return most && `RLIMIT_FSIZE is ${most} bytes`;
		},
		consequence: ({ doing }) => `${doing} writes a memory file`,
		fix: () => "Raise RLIMIT_FSIZE (LimitFSIZE= of systemd) above 16 KiB",
		command: () => `prlimit --pid ${process.pid} --fsize=unlimited`,
	},
	// security_move_mount() is called before the mounts are checked (vfs_move_mount() in fs/namespace.c): AppArmor, hook_move_mount() of
	// Landlock.
	"security-module": {
		explains: ["mount"],
		check: (facts, refusal) => {
			if (!facts.has("CAP_SYS_ADMIN") || filtered(facts, refusal).length > 0) return undefined;
			// A process without power over its mount namespace gets EPERM from the kernel.
			if (facts.isInitial !== true || !facts.isAnswered("mount")) return undefined;
			return `a security module (${securityModule(facts)}) refuses even a call of move_mount(2) that the kernel would reject with another error`;
		},
		consequence: ({ doing }) => `${doing} needs its permission`,
		fix: () =>
			"Start the program outside the sandbox that set it, or with another profile (docker run --security-opt apparmor=unconfined)",
	},
	// AppArmor fails with EACCES for a rule that a profile lacks (userns_create in security/apparmor/lsm.c, since Linux 6.7), and with EPERM
	// for a capability, which /proc still shows. No call without an effect tells which.
	"apparmor-profile": {
		explains: ["create", "write a map", "newuidmap", "mount", "map a mount", "join", "run"],
		check: (facts) => {
			const profile = confinement(facts);
			return profile && `the AppArmor profile of this process is ${profile}`;
		},
		consequence: () => "no other cause of the refusal was found",
		fix: (_, { operation }) =>
			`Start the program without this profile (docker run --security-opt apparmor=unconfined), or let root change the profile: ${operation === "create" ? 'add the rule "userns,"' : "a line with DENIED in the kernel's log (dmesg) can name what it refuses"}`,
	},
};
