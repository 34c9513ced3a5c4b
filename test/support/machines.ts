import type { FoundCause } from "../../src/index.ts";
import type { Refusal } from "../../src/inspect/cause.ts";
import { type CauseId, findCauses, remainingHint } from "../../src/inspect/causes.ts";
import { type DryCall, Facts, type Sources } from "../../src/inspect/facts.ts";
import { ERRNO } from "../../src/native/errno.ts";

/* Machines that exist as facts only, with what they refuse and the causes that are found there. */

/** The capabilities of a process: all of them, and those of root in a container of Docker (`grep Cap /proc/self/status`). */
const ALL = "000001ffffffffff";
const DOCKER = "00000000a80425fb";
const NONE = "0000000000000000";

export interface Machine {
	files?: Record<string, string>;
	effective?: string;
	permitted?: string;
	bounding?: string;
	seccomp?: string;
	initial?: boolean | undefined;
	filtered?: readonly DryCall[];
	mountRoot?: boolean | undefined;
	id?: number;
	release?: string;
	/** The executable files in the absolute directories of PATH, with their modes; those of root. */
	programs?: Record<string, number>;
	/** The mounts with nosuid. */
	nosuid?: string;
	/** A file in a relative entry of PATH, and its mode: set-user-ID by default. */
	relative?: string;
	relativeMode?: number;
	/** Null: the user has no entry in the user database. */
	entryGid?: number | null;
	noNewPrivs?: string;
}

/** A machine without restrictions, except for what the test changes. */
export function machine(change: Machine = {}): Facts {
	const {
		effective = ALL,
		permitted = effective,
		bounding = ALL,
		seccomp = "0",
		filtered = [],
		id = 0,
		noNewPrivs = "0",
		programs = {},
	} = change;
	const files: Record<string, string> = {
		"/proc/thread-self/status": `Name:\tnode\nPPid:\t77\nCapPrm:\t${permitted}\nCapEff:\t${effective}\nCapBnd:\t${bounding}\nSeccomp:\t${seccomp}\nNoNewPrivs:\t${noNewPrivs}`,
		"/proc/self/uid_map": "0 0 4294967295",
		"/proc/self/gid_map": "0 0 4294967295",
		"/proc/self/mountinfo": "21 1 8:1 / / rw - ext4 /dev/sda1 rw",
		"/proc/1/mountinfo": "21 1 8:1 / / rw - ext4 /dev/sda1 rw",
		...change.files,
	};
	const sources: Sources = {
		read: (file) => files[file],
		stat: (file) => {
			const initial = "initial" in change ? change.initial : true;
			const ino = initial ? 0xeffffffd : 4026532000;
			if (file === "/proc/self/ns/user") return initial === undefined ? undefined : { ino, mode: 0, uid: 0 };
			const mode = file === change.relative ? (change.relativeMode ?? 0o104755) : programs[file];
			return mode === undefined ? undefined : { ino: 1, mode, uid: 0 };
		},
		hasOption: (file, option) =>
			option === "nosuid" && change.nosuid !== undefined && file.startsWith(change.nosuid),
		programs: (name) => Object.keys(programs).filter((file) => file.endsWith(`/${name}`)),
		anywhere: () => change.relative,
		gids: () => (change.entryGid === null ? undefined : { own: id, entry: change.entryGid ?? id }),
		release: change.release ?? "6.18.0",
		dryCall: (call) => filtered.includes(call),
		isMountRoot: () => ("mountRoot" in change ? change.mountRoot : true),
		euid: id,
		egid: id,
	};
	return new Facts(sources);
}

export const CREATE: Refusal = { operation: "create", doing: "creating", calls: ["clone3", "clone"] };
export const MOUNT: Refusal = {
	operation: "mount",
	doing: "mounting",
	needs: ["CAP_SYS_ADMIN"],
	calls: ["open_tree"],
};
const MAP_MOUNT: Refusal = { ...MOUNT, operation: "map a mount", calls: ["mount_setattr"] };
const WRITE: Refusal = {
	operation: "write a map",
	doing: "this map",
	needs: ["CAP_SETUID", "CAP_SETGID", "CAP_SETFCAP"],
};

const INSIDE: Refusal = { operation: "in the namespace", doing: "using capabilities" };
const NO_SPACE: Refusal = { ...CREATE, error: ERRNO.ENOSPC };
const RUN: Refusal = { operation: "run", doing: "starting a program", calls: ["memfd_create"] };
const HELPER: Refusal = {
	operation: "newuidmap",
	doing: "writing the uid map",
	helper: { kind: "uid", program: "/usr/bin/newuidmap", words: "newuidmap: write failed" },
};
const GOOD = { "/usr/bin/newuidmap": 0o4755, "/usr/bin/newgidmap": 0o4755 };
const BARE = { "/usr/bin/newuidmap": 0o755, "/usr/bin/newgidmap": 0o755 };

const LIMIT = "/proc/sys/user/max_user_namespaces";
const CLONE = "/proc/sys/kernel/unprivileged_userns_clone";
const APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
const USER = { id: 1000, effective: NONE } as const;

/** What each machine refuses, and the causes that must be found: no more and no fewer. */
type Case = [what: string, Refusal, Machine, CauseId[], hint?: RegExp];

export const cases: Case[] = [
	["no restriction", CREATE, {}, []],
	["no restriction, a user", CREATE, USER, []],
	[
		"the sysctl of Debian is 0",
		CREATE,
		{ ...USER, files: { [CLONE]: "0" } },
		["unprivileged-userns-clone"],
		/write 1 to .*_clone: kernel\./,
	],
	["that sysctl is 1", CREATE, { ...USER, files: { [CLONE]: "1" } }, []],
	["that sysctl is 0, for root", CREATE, { files: { [CLONE]: "0" } }, []],
	[
		"that sysctl is 0, for root of a container without CAP_SYS_ADMIN",
		CREATE,
		{ effective: DOCKER, bounding: DOCKER, files: { [CLONE]: "0" } },
		["unprivileged-userns-clone"],
	],
	[
		"that sysctl is 0, for root of a user namespace",
		CREATE,
		{ initial: false, files: { [CLONE]: "0" } },
		["unprivileged-userns-clone"],
	],
	[
		"AppArmor restricts users",
		CREATE,
		{ ...USER, files: { [APPARMOR]: "1" } },
		["apparmor-userns"],
		/"userns,".*: kernel\.\S+ is 1, and/,
	],
	[
		"AppArmor restricts users, and the process has a profile",
		INSIDE,
		{ ...USER, files: { [APPARMOR]: "1", "/proc/thread-self/attr/current": "bwrap (unconfined)" } },
		[],
	],
	["AppArmor restricts users, inside", INSIDE, { ...USER, files: { [APPARMOR]: "1" } }, ["apparmor-userns"]],
	...["kernel", "unconfined", "unconfined_u:unconfined_r:unconfined_t:s0", ""].map(
		(label): Case => [
			`the label "${label}" is no profile of AppArmor`,
			INSIDE,
			{ ...USER, files: { [APPARMOR]: "1", "/proc/thread-self/attr/current": `${label}\0` } },
			["apparmor-userns"],
		],
	),
	[
		"a chroot into a directory",
		CREATE,
		{ mountRoot: false },
		["chroot"],
		/outside the chroot.*within a mount/,
	],
	[
		"a chroot into a mount that the parent has elsewhere",
		CREATE,
		{
			files: {
				"/proc/self/mountinfo": "40 21 8:1 / / rw - ext4 /dev/sda1 rw",
				"/proc/77/mountinfo": "21 1 8:1 / / rw - ext4 a rw\n40 21 8:1 / /srv/jail rw - ext4 a rw",
			},
		},
		["chroot"],
		/process 77 has at \/srv\/jail/,
	],
	[
		"the root of the mounts cannot be read",
		CREATE,
		{ mountRoot: undefined, files: { "/proc/self/mountinfo": "" } },
		[],
	],
	[
		"an own uid that is not mapped",
		CREATE,
		{ ...USER, files: { "/proc/self/uid_map": "0 100000 1000" } },
		["unmapped-own-id"],
		/effective uid 1000 of this process is not mapped/,
	],
	[
		"no own ID is mapped",
		CREATE,
		{ id: 65534, files: { "/proc/self/uid_map": "", "/proc/self/gid_map": "" } },
		["unmapped-own-id"],
		/uid 65534 and gid 65534 of this process are/,
	],
	[
		"a filter against clone3 with EPERM",
		CREATE,
		{ seccomp: "2", filtered: ["clone3"] },
		["seccomp-filter"],
		/^Allow clone3\(2\)/,
	],
	[
		"a filter against clone, and clone3 without",
		CREATE,
		{ seccomp: "2", filtered: ["clone3", "clone"] },
		["seccomp-filter"],
		/^Allow clone\(2\)/,
	],
	[
		"a filter that permits clone3, so that clone was not called",
		CREATE,
		{ seccomp: "2", filtered: ["clone"] },
		[],
	],
	["a filter that permits the call", CREATE, { seccomp: "2" }, []],
	[
		"root of a container of Docker mounts",
		MOUNT,
		{ effective: DOCKER, bounding: DOCKER },
		["missing-capability"],
		/^Start the container with --cap-add SYS_ADMIN \(docker, podman\).*uid 0 and lacks CAP_SYS_ADMIN, even in its bounding set, and mounting needs it\.$/,
	],
	[
		"the same with Docker's filter",
		MOUNT,
		{ effective: DOCKER, bounding: DOCKER, seccomp: "2", filtered: ["open_tree"] },
		["missing-capability", "seccomp-filter"],
	],
	[
		"root that has dropped it",
		MOUNT,
		{ effective: NONE },
		["missing-capability"],
		/^Start the program without the secure bit noroot/,
	],
	[
		"root that has it permitted only",
		MOUNT,
		{ effective: NONE, permitted: ALL },
		["missing-capability"],
		/^Add CAP_SYS_ADMIN to the effective set/,
	],
	[
		"a user",
		MOUNT,
		USER,
		["missing-capability"],
		/^Run it as root: this process has uid 1000 and lacks CAP_SYS_ADMIN, and/,
	],
	[
		"a user of a container in which root could not either",
		MOUNT,
		{ ...USER, bounding: DOCKER },
		["missing-capability"],
		/^Start the container with --cap-add/,
	],
	[
		"root of a user namespace without a mount namespace",
		MOUNT,
		{ initial: false },
		["foreign-mount-namespace"],
		/^Run it as root outside this user namespace/,
	],
	[
		"the same under a filter against the call",
		MOUNT,
		{ initial: false, seccomp: "2", filtered: ["open_tree"] },
		["seccomp-filter"],
	],
	["root, and no cause", MOUNT, {}, []],
	[
		"root of a user namespace maps a mount",
		MAP_MOUNT,
		{ initial: false },
		["foreign-file-system"],
		/file system was mounted outside it/,
	],
	[
		"root of a container without two of three capabilities",
		WRITE,
		{ effective: "0000000080000000", bounding: "0000000080000000" },
		["missing-capability"],
		/--cap-add SETUID --cap-add SETGID .*lacks CAP_SETUID and CAP_SETGID, even/,
	],
	[
		"one of three is outside the bounding set",
		WRITE,
		{ effective: NONE, bounding: "000001ffffffff7f" },
		["missing-capability"],
		/lacks CAP_SETUID, CAP_SETGID and CAP_SETFCAP, CAP_SETUID even in its bounding set/,
	],
	["the limit is 0", NO_SPACE, { files: { [LIMIT]: "0" } }, ["namespaces-off"], /^Let root enable/],
	[
		"the limit of the machine is reached",
		NO_SPACE,
		{ files: { [LIMIT]: "100" } },
		["namespace-limit"],
		/max_user_namespaces is 100, and this user has created that many/,
	],
	[
		"a namespace without a limit of its own: an ancestor's",
		NO_SPACE,
		{ initial: false, files: { [LIMIT]: "2147483647" } },
		["ancestor-limit"],
		/^Start the program outside the sandbox.*--disable-userns/,
	],
	["the limit, after EPERM", CREATE, { files: { [LIMIT]: "100" } }, []],
	[
		"RLIMIT_NPROC",
		{ ...CREATE, error: ERRNO.EAGAIN },
		{ files: { "/proc/self/limits": "Max processes             5                    5     processes" } },
		["process-limit"],
		/RLIMIT_NPROC is 5/,
	],
	[
		"pids.max of the cgroup",
		{ ...CREATE, error: ERRNO.EAGAIN },
		{
			files: {
				...{ "/proc/self/cgroup": "0::/box", "/sys/fs/cgroup/box/pids.max": "7" },
				"/sys/fs/cgroup/box/pids.current": "7",
			},
		},
		["process-limit"],
		/pids\.max in \/sys\/fs\/cgroup\/box is 7/,
	],
	[
		"a kernel without user namespaces",
		{ ...CREATE, error: ERRNO.EINVAL },
		{ initial: undefined },
		["no-user-namespaces"],
	],
	[
		"a kernel before the call",
		MOUNT,
		{ release: "4.19.0" },
		["old-kernel"],
		/Linux 4\.19\.0, and open_tree\(2\)/,
	],
	[
		"the same with a filter, which is not blamed",
		MOUNT,
		{ release: "4.19.0", seccomp: "2", filtered: ["open_tree"] },
		["old-kernel"],
	],
	[
		"a sysctl against executing memory files",
		{ ...RUN, error: ERRNO.EACCES },
		{ files: { "/proc/sys/vm/memfd_noexec": "2" } },
		["memfd-noexec"],
		/"sysctl vm\.memfd_noexec=1": .*memfd_noexec is 2/,
	],
	[
		"RLIMIT_FSIZE",
		{ ...RUN, error: ERRNO.EFBIG },
		{ files: { "/proc/self/limits": "Max file size             1024                 1024     bytes" } },
		["file-size-limit"],
		/^Raise RLIMIT_FSIZE .*is 1024 bytes/,
	],
	["a /proc that is read-only", { ...WRITE, error: ERRNO.EROFS }, {}, ["proc-read-only"], /^Remount \/proc/],
	["Landlock", MOUNT, { filtered: ["mount"] }, ["security-module"], /such as Landlock/],
	[
		"AppArmor, with a profile",
		MOUNT,
		{ filtered: ["mount"], files: { "/proc/thread-self/attr/current": "docker-default (enforce)" } },
		["security-module"],
		/the profile is docker-default \(enforce\)/,
	],
	[
		"SELinux, with a context",
		MOUNT,
		{
			filtered: ["mount"],
			files: { "/proc/thread-self/attr/current": "system_u:system_r:container_t:s0:c1,c2\0" },
		},
		["security-module"],
		/the SELinux context is system_u:system_r:container_t:s0:c1,c2\)/,
	],
	[
		"root of a user namespace: EPERM is the kernel's",
		MOUNT,
		{ initial: false, filtered: ["mount"] },
		["foreign-mount-namespace"],
	],
	[
		"no newuidmap",
		{ ...HELPER, helper: { kind: "uid", program: null, words: "" } },
		USER,
		["helper-missing"],
	],
	[
		"newuidmap in a relative entry of PATH",
		{ ...HELPER, helper: { kind: "uid", program: null, words: "" } },
		{ ...USER, relative: "bin/newuidmap" },
		["helper-relative-path"],
	],
	[
		"a file that another user may have put in a relative entry of PATH",
		{ ...HELPER, helper: { kind: "uid", program: null, words: "" } },
		{ ...USER, relative: "bin/newuidmap", relativeMode: 0o100755 },
		["helper-missing"],
	],
	["no_new_privs", HELPER, { ...USER, programs: GOOD, noNewPrivs: "1" }, ["no-new-privs"]],
	[
		"a set-user-ID newuidmap without CAP_SYS_ADMIN in the bounding set",
		HELPER,
		{ ...USER, programs: GOOD, bounding: DOCKER },
		["helper-bounding-set"],
		/"chmod u-s \/usr\/bin\/newuidmap \/usr\/bin\/newgidmap && setcap cap_setuid=ep/,
	],
	[
		"a bounding set without CAP_SETUID",
		HELPER,
		{ ...USER, programs: GOOD, bounding: "000001ffffffff7f" },
		["helper-bounding-set"],
		/^Start the container with --cap-add SETUID/,
	],
	[
		"newgrp",
		HELPER,
		{ ...USER, programs: GOOD, entryGid: 77 },
		["other-gid"],
		/the gid 77 in the user database/,
	],
	[
		"newgrp, and it is granted",
		HELPER,
		{ ...USER, programs: GOOD, entryGid: 77, files: { "/etc/login.defs": "GRANT_AUX_GROUP_SUBIDS yes" } },
		[],
	],
	["a uid without a name", HELPER, { ...USER, programs: GOOD, entryGid: null }, ["unknown-user"]],
	["nosuid", HELPER, { ...USER, programs: GOOD, nosuid: "/usr" }, ["helper-nosuid"]],
	[
		"newuidmap without its bit, and a good one later in PATH",
		HELPER,
		{ ...USER, programs: { "/usr/bin/newuidmap": 0o755, "/opt/newuidmap": 0o4755 } },
		["helper-not-privileged"],
		/^Put \/opt before \/usr\/bin in PATH/,
	],
	[
		"newuidmap without its bit under no_new_privs",
		HELPER,
		{ ...USER, programs: BARE, noNewPrivs: "1" },
		["no-new-privs"],
	],
	["newuidmap without its bit", HELPER, { ...USER, programs: BARE }, ["helper-not-privileged"]],
	[
		"a /proc that cannot be read",
		MOUNT,
		{ files: { "/proc/thread-self/status": "" }, initial: undefined },
		[],
	],
	[
		"AppArmor restricts users, and the process has a profile that refuses",
		{ ...CREATE, error: ERRNO.EACCES },
		{ ...USER, files: { [APPARMOR]: "1", "/proc/thread-self/attr/current": "firefox (enforce)" } },
		["apparmor-profile"],
	],
	[
		"Ubuntu's profile for a program in a user namespace",
		CREATE,
		{
			...USER,
			files: { [APPARMOR]: "1", "/proc/thread-self/attr/current": "unprivileged_userns (enforce)" },
		},
		["apparmor-userns"],
	],
	[
		"a profile without the rule",
		{ ...CREATE, error: ERRNO.EACCES },
		{ files: { "/proc/thread-self/attr/current": "firefox (enforce)" } },
		["apparmor-profile"],
		/^Start the program without this profile .* add the rule "userns,": the AppArmor profile of this process is firefox \(enforce\)/,
	],
	[
		"a profile that refuses nothing",
		{ ...CREATE, error: ERRNO.EACCES },
		{ files: { "/proc/thread-self/attr/current": "firefox (unconfined)" } },
		[],
	],
	[
		"a profile without a capability",
		WRITE,
		{ files: { "/proc/thread-self/attr/current": "firefox (complain)" } },
		["apparmor-profile"],
		/a line with DENIED in the kernel's log/,
	],
	[
		"a profile without a capability that newuidmap needs",
		HELPER,
		{
			...USER,
			programs: { "/usr/bin/newuidmap": 0o104755 },
			files: { "/proc/thread-self/attr/current": "firefox (enforce)" },
		},
		["apparmor-profile"],
	],
	[
		"a profile, and a newuidmap that is not set-user-ID",
		HELPER,
		{
			...USER,
			programs: { "/usr/bin/newuidmap": 0o100755 },
			files: { "/proc/thread-self/attr/current": "firefox (enforce)" },
		},
		["helper-not-privileged"],
	],
	[
		"a profile, and a cause that is certain",
		WRITE,
		{ effective: NONE, files: { "/proc/thread-self/attr/current": "firefox (enforce)" } },
		["missing-capability"],
	],
];

/** The causes that a refusal has on a machine: those that are found, or else the one that is left. */
export function causesOn(refusal: Refusal, facts: Facts): FoundCause[] {
	const found = findCauses(refusal, facts);
	if (found.length > 0) return found;
	const remaining = remainingHint(refusal.operation, facts);
	return typeof remaining === "string" ? [] : remaining;
}
