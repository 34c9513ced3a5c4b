import assert from "node:assert/strict";
import { hintOfCauses } from "../../src/errors.ts";
import { type CauseId, causes, findCauses, remainingHint } from "../../src/inspect/causes.ts";
import { fileSystemFix } from "../../src/inspect/file-systems.ts";
import { missingCallHint } from "../../src/native/missing-call.ts";
import { CREATE, cases, causesOn, MOUNT, machine } from "../support/machines.ts";
import { test } from "../support/test.ts";

for (const [what, refusal, change, expected, hint] of cases) {
	test(`the causes that are found for "${refusal.operation}": ${what}`, () => {
		const found = causesOn(refusal, machine(change));
		assert.deepEqual(
			found.map(({ id }) => id),
			expected,
		);
		if (hint !== undefined) assert.match(hintOfCauses(found) ?? "", hint);
		for (const each of found) {
			assert.match(hintOfCauses([each]) ?? "", /^[A-Z].*: .*, and .*\.$/);
			assert.equal(each.message, `${each.evidence}, and ${each.consequence}`);
		}
	});
}

test("each cause of the table is found on some machine", () => {
	const found = new Set(cases.flatMap(([, , , expected]) => expected));
	assert.deepEqual(
		// The file of this machine; test/system/doctor.test.ts removes it.
		Object.keys(causes).filter((id) => !found.has(id as CauseId)),
		["subid-file-missing"],
	);
});

test("root is never told to run as root", () => {
	for (const [what, refusal, change] of cases.filter(([, , { id = 0 }]) => id === 0)) {
		for (const { fix } of findCauses(refusal, machine(change)))
			assert.doesNotMatch(fix, /^Run it as root$/, what);
	}
});

test("no call is tried without a filter", () => {
	const facts = machine({ seccomp: "0", filtered: ["open_tree", "clone3", "clone"] });
	assert.deepEqual([...findCauses(MOUNT, facts), ...findCauses(CREATE, facts)], []);
});

test("without a cause the hint claims only what was checked", () => {
	const rest = (operation: "create" | "mount", facts = machine()) => String(remainingHint(operation, facts));
	assert.match(rest("create"), /chroot\(2\), and the security modules/);
	assert.match(rest("mount"), /^Check the security modules/);
	assert.match(rest("mount", machine({ files: { "/proc/thread-self/status": "" } })), /^Mount a procfs/);
	// A profile is no cause beside a reason that the caller knows: most profiles refuse nothing of this.
	const confined = machine({ files: { "/proc/thread-self/attr/current": "docker-default (enforce)" } });
	for (const [, refusal] of cases) {
		assert.ok(findCauses(refusal, confined).every(({ id }) => id !== "apparmor-profile"));
	}
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

test("each file system that cannot be mapped has its own advice, and others the general one", () => {
	const advice = new Map<string, RegExp>([
		["overlay", /layers/],
		["9p", /host that 9p shares/],
		["virtiofs", /virtiofsd/],
		["fuse.sshfs", /behind it/],
		["fuseblk", /behind it/],
		["nfs4", /NFS server/],
		["cifs", /mount\.cifs/],
		["proc", /^Map a directory on another file system\. Newer kernels/],
	]);
	for (const [type, text] of advice) assert.match(fileSystemFix(type), text, type);
});
