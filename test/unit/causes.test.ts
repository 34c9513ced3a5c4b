import assert from "node:assert/strict";
import { type CauseId, causes, findCauses, type Refusal, remainingHint } from "../../src/inspect/causes.ts";
import { type DryCall, Facts, type Sources } from "../../src/inspect/facts.ts";
import { missingCallHint } from "../../src/native/missing-call.ts";
import { test } from "../support/test.ts";

/** The capabilities of a process: all of them, and those of root in a container of Docker (`grep Cap /proc/self/status`). */
const ALL = "000001ffffffffff";
const DOCKER = "00000000a80425fb";
const NONE = "0000000000000000";

interface Machine {
	files?: Record<string, string>;
	effective?: string;
	permitted?: string;
	bounding?: string;
	seccomp?: string;
	initial?: boolean | undefined;
	filtered?: readonly DryCall[];
	mountRoot?: boolean | undefined;
	id?: number;
}

/** A machine without restrictions, except for what the test changes. */
function machine(change: Machine = {}): Facts {
	const {
		effective = ALL,
		permitted = effective,
		bounding = ALL,
		seccomp = "0",
		filtered = [],
		id = 0,
	} = change;
	const files: Record<string, string> = {
		"/proc/thread-self/status": `Name:\tnode\nPPid:\t77\nCapPrm:\t${permitted}\nCapEff:\t${effective}\nCapBnd:\t${bounding}\nSeccomp:\t${seccomp}`,
		"/proc/self/uid_map": "0 0 4294967295",
		"/proc/self/gid_map": "0 0 4294967295",
		"/proc/self/mountinfo": "21 1 8:1 / / rw - ext4 /dev/sda1 rw",
		"/proc/1/mountinfo": "21 1 8:1 / / rw - ext4 /dev/sda1 rw",
		...change.files,
	};
	const sources: Sources = {
		read: (file) => files[file],
		inode: () =>
			"initial" in change
				? change.initial === undefined
					? undefined
					: change.initial
						? 0xeffffffd
						: 4026532000
				: 0xeffffffd,
		dryCall: (call) => filtered.includes(call),
		isMountRoot: () => ("mountRoot" in change ? change.mountRoot : true),
		euid: id,
		egid: id,
	};
	return new Facts(sources);
}

const CREATE: Refusal = { operation: "create", doing: "creating", calls: ["clone3", "clone"] };
const MOUNT: Refusal = {
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

const CLONE = "/proc/sys/kernel/unprivileged_userns_clone";
const APPARMOR = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
const USER = { id: 1000, effective: NONE } as const;

/** What each machine refuses, and the causes that must be found: no more and no fewer. */
const cases: [what: string, Refusal, Machine, CauseId[], hint?: RegExp][] = [
	["no restriction", CREATE, {}, []],
	["no restriction, a user", CREATE, USER, []],
	[
		"the sysctl of Debian is 0",
		CREATE,
		{ ...USER, files: { [CLONE]: "0" } },
		["unprivileged-userns-clone"],
		/write 1 to .*_clone: /,
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
		/"userns,".*: it is 1, and/,
	],
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
	[
		"a /proc that cannot be read",
		MOUNT,
		{ files: { "/proc/thread-self/status": "" }, initial: undefined },
		[],
	],
];

for (const [what, refusal, change, expected, hint] of cases) {
	test(`the causes that are found for "${refusal.operation}": ${what}`, () => {
		const found = findCauses(refusal, machine(change));
		assert.deepEqual(
			found.map(({ id }) => id),
			expected,
		);
		if (hint !== undefined) assert.match(found[0]?.hint ?? "", hint);
		for (const each of found) assert.match(each.hint, /^[A-Z].*: .*, and .*\.$/);
	});
}

test("each cause of the table is found on some machine", () => {
	const found = new Set(cases.flatMap(([, , , expected]) => expected));
	assert.deepEqual(
		Object.keys(causes).filter((id) => !found.has(id as CauseId)),
		[],
	);
});

test("root is never told to run as root", () => {
	for (const [what, refusal, change] of cases.filter(([, , { id = 0 }]) => id === 0)) {
		for (const { hint } of findCauses(refusal, machine(change)))
			assert.doesNotMatch(hint, /^Run it as root:/, what);
	}
});

test("no call is tried without a filter", () => {
	const facts = machine({ seccomp: "0", filtered: ["open_tree", "clone3", "clone"] });
	assert.deepEqual([...findCauses(MOUNT, facts), ...findCauses(CREATE, facts)], []);
});

test("without a cause the hint claims only what was checked", () => {
	assert.match(remainingHint("create", machine()), /chroot\(2\), and the security modules/);
	assert.match(remainingHint("mount", machine()), /^Check the security modules/);
	assert.match(
		remainingHint("mount", machine({ files: { "/proc/thread-self/status": "" } })),
		/^Mount a procfs/,
	);
});

const missing: [syscall: string, running: string, seccomp: string | undefined, hint: RegExp][] = [
	["open_tree", "6.18.0-generic", "2", /^Allow open_tree\(2\) in the seccomp filter/],
	["open_tree_attr", "6.1.0", "2", /^Use Linux 6\.15 or later.*may refuse the call as well/],
	[
		"open_tree_attr",
		"6.1.0",
		"0",
		/^Use Linux 6\.15 or later, which has open_tree_attr\(2\): this Linux 6\.1\.0 does not have it\.$/,
	],
	["mount_setattr", "5.4.0-42", "0", /^Use Linux 5\.12 or later/],
	["mount_setattr", "5.12", "2", /^Allow/],
	["quotactl", "6.18.0", "0", /^Use a newer kernel, which has quotactl/],
	["open_tree", "6.18.0", undefined, /^Use Linux 5\.2 or later.*\/proc does not tell/],
];

for (const [syscall, running, seccomp, hint] of missing) {
	test(`the hint for ENOSYS of ${syscall} on Linux ${running}, with Seccomp: ${seccomp}`, () => {
		const status = seccomp === undefined ? undefined : `Name:\tnode\nSeccomp:\t${seccomp}`;
		// An undefined argument would be the status of this process.
		assert.match(missingCallHint(syscall, running, status ?? ""), hint);
	});
}
