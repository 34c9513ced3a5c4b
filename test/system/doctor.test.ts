import assert from "node:assert/strict";
import type { Diagnosis, DoctorOptions } from "../../src/index.ts";
import {
	compile,
	diagnose,
	filter,
	inside,
	JAIL,
	KILL,
	type Machine,
	WAIT,
	withLimit,
} from "../support/broken.ts";
import { ask } from "../support/child.ts";
import { withTmpfs } from "../support/mounts.ts";
import { OTHER_UID } from "../support/needs.ts";
import { test } from "../support/test.ts";

/* Machines on which no program can be started in a user namespace, or no mount can be mapped, each for one reason. */

const needs = ["linux", "root", "ordinary", "mounts", "tool:cc", "linux:6.5"] as const;

/** /proc/sys/kernel with one more file in it, as a kernel with that patch has it. */
const setting = (name: string, value: string) =>
	`mount -t tmpfs -o mode=0755 userns-test /proc/sys/kernel; echo ${value} > /proc/sys/kernel/${name}`;
/** The kernel of such a machine: it refuses what a filter is used for, and the filter is not found. */
const KERNEL = ["/mnt/bin/kernel"];
const inJail = (of: string) => ["/usr/sbin/chroot", of];
const NESTED = Array.from({ length: 33 }, () => ["/usr/bin/unshare", "--user", "--map-root-user"]).flat();
const SECCOMP = { cause: "seccomp-filter" } as const;

const machines: [what: string, machine: Machine][] = [
	["a healthy machine, root", { job: "spawn", asRoot: true }],
	["a healthy machine, an ordinary user", { job: "spawn" }],
	["a healthy machine, root, many IDs", { job: "rootless", asRoot: true }],
	["a healthy machine, root, mounts", { job: "mount", asRoot: true }],
	["a filter that has nothing to do with it", { job: "spawn", ...filter("open_tree") }],
	[
		"root of a namespace with its own mounts",
		{ job: "spawn", asRoot: true, through: inside("--unshare", "mount") },
	],
	[
		"unprivileged_userns_clone is 0",
		{
			job: "spawn",
			before: `${compile("deny-newuser", "kernel")}; ${setting("unprivileged_userns_clone", "0")}`,
			through: KERNEL,
			cause: "unprivileged-userns-clone",
			evidence: /^kernel\.unprivileged_userns_clone is 0$/,
		},
	],
	[
		"AppArmor restricts user namespaces",
		{
			job: "spawn",
			before: setting("apparmor_restrict_unprivileged_userns", "1"),
			cause: "apparmor-userns",
			works: true,
			fix: "before",
		},
	],
	[
		"a refusal without a cause",
		{ job: "spawn", before: compile("deny-newuser", "kernel"), through: KERNEL, cause: "unknown" },
	],
	[
		"chroot(2) into a directory",
		{ job: "spawn", asRoot: true, before: JAIL, through: inJail("/mnt/jail"), cause: "chroot" },
	],
	[
		"chroot(2) into a directory, an ordinary user",
		{
			job: "spawn",
			asRoot: true,
			before: JAIL,
			through: [
				...inJail("/mnt/jail"),
				..."/usr/bin/setpriv --reuid 4321 --regid 4321 --clear-groups".split(" "),
			],
			cause: "chroot",
		},
	],
	[
		"an own ID that is not mapped",
		{ job: "spawn", through: ["/usr/bin/unshare", "--user"], cause: "unmapped-own-id" },
	],
	[
		"the limit 0",
		{ job: "spawn", asRoot: true, through: withLimit(0), cause: "namespaces-off", fix: "by the program" },
	],
	[
		"the limit 1 is reached",
		{
			job: "spawn",
			asRoot: true,
			through: withLimit(1),
			first: 'globalThis.held = userns.UserNamespace.createSync("0:0:1");',
			cause: "namespace-limit",
			fix: "by the program",
		},
	],
	["33 nested namespaces", { job: "spawn", through: NESTED, cause: "ancestor-limit" }],
	[
		"RLIMIT_NPROC",
		{
			job: "spawn",
			first: 'execSync("/usr/bin/prlimit --nproc=1: --pid " + process.pid);',
			cause: "process-limit",
			evidence: /^RLIMIT_NPROC is 1$/,
		},
	],
	[
		"a filter against user namespaces",
		{
			job: "spawn",
			before: compile("deny-newuser"),
			through: ["/mnt/bin/deny-newuser"],
			...SECCOMP,
			evidence: /clone\(2\)/,
		},
	],
	[
		"a filter against new processes",
		{
			job: "spawn",
			before: compile("deny-newuser", "threads"),
			through: ["/mnt/bin/threads"],
			...SECCOMP,
			evidence: /clone\(2\)/,
		},
	],
	...["memfd_create", "setns", "setns=38", `setns=${KILL}`, `setns=${WAIT}`].map(
		(call): [string, Machine] => [
			`a filter against ${call}`,
			{
				job: "spawn",
				...filter(call),
				...SECCOMP,
				...(/=409[67]$/.test(call) && { kills: true as const }),
				evidence: new RegExp(`${call.split("=")[0]}\\(2\\)`),
			},
		],
	),
	["a filter against unshare", { job: "spawn", ...filter("unshare"), ...SECCOMP, limited: true }],
	["a filter against execveat", { job: "spawn", ...filter("execveat"), ...SECCOMP, limited: true }],
	[
		"vm.memfd_noexec is 2",
		{
			job: "spawn",
			asRoot: true,
			through: [
				..."/usr/bin/unshare --pid --fork --mount-proc sh -c".split(" "),
				'echo 2 > /proc/sys/vm/memfd_noexec; exec "$@"',
				"sh",
			],
			cause: "memfd-noexec",
			fix: "by the program",
		},
	],
	[
		"RLIMIT_FSIZE",
		{
			job: "spawn",
			asRoot: true,
			first: 'execSync("/usr/bin/prlimit --fsize=1000: --pid " + process.pid);',
			cause: "file-size-limit",
			evidence: /^RLIMIT_FSIZE is 1000 bytes$/,
			fix: "by the program",
		},
	],
	["/proc/sys is hidden", { job: "spawn", before: "mount -t tmpfs cover /proc/sys", cause: "suid-dumpable" }],
	[
		"/proc is read-only",
		{ job: "spawn", asRoot: true, before: "mount -o remount,bind,ro /proc", cause: "proc-read-only" },
	],
	[
		"root without CAP_SETFCAP",
		{
			job: "spawn",
			asRoot: true,
			bounding: "-setfcap",
			cause: "missing-capability",
			evidence: /lacks CAP_SETFCAP, even/,
		},
	],
	[
		"root without CAP_SETUID and CAP_SETGID",
		{
			job: "rootless",
			asRoot: true,
			bounding: "-setuid,-setgid",
			cause: "missing-capability",
			evidence: /lacks CAP_SETUID and CAP_SETGID, even/,
		},
	],
	[
		"root of a namespace with one ID",
		{
			job: "rootless",
			asRoot: true,
			through: ["/usr/bin/unshare", "--user", "--map-root-user"],
			cause: "unmapped-ids",
			evidence: /which is not mapped in the user namespace of this process/,
		},
	],
	[
		"mounts, without CAP_SYS_ADMIN",
		{
			job: "mount",
			asRoot: true,
			bounding: "-sys_admin",
			cause: "missing-capability",
			evidence: /lacks CAP_SYS_ADMIN, even/,
		},
	],
	[
		"mounts, an ordinary user",
		{
			job: "mount",
			cause: "missing-capability",
			evidence: /^this process has uid \d+ and lacks CAP_SYS_ADMIN$/,
		},
	],
	[
		"mounts, root of a namespace that does not own its mounts",
		{
			job: "mount",
			asRoot: true,
			through: inside(),
			cause: "foreign-mount-namespace",
		},
	],
	...["open_tree", "mount_setattr", "move_mount", `open_tree=${KILL}`].map((call): [string, Machine] => [
		`mounts, a filter against ${call}`,
		{
			job: "mount",
			asRoot: true,
			...filter(call),
			...SECCOMP,
			...(call.endsWith(`${KILL}`) && { kills: true as const }),
			evidence: new RegExp(`${call.split("=")[0]}\\(2\\)`),
		},
	]),
	[
		"mounts, Landlock",
		{
			job: "mount",
			asRoot: true,
			before: compile("landlock"),
			through: ["/mnt/bin/landlock"],
			cause: "security-module",
			evidence: /such as Landlock/,
		},
	],
	[
		"mounts of a file system that cannot be mapped",
		{
			job: "mount",
			asRoot: true,
			source: "/proc",
			cause: "file-system",
			evidence: /cannot map mounts of this proc/,
		},
	],
];

for (const [what, machine] of machines) {
	const more = what.includes("Landlock") ? (["landlock"] as const) : [];
	test(`doctor: ${what}`, { needs: [...needs, ...more] }, () => diagnose(machine));
}

test("doctor: bwrap --disable-userns", { needs: [...needs, "tool:bwrap"] }, () =>
	diagnose({
		job: "spawn",
		through: "/usr/bin/bwrap --unshare-user --disable-userns --dev-bind / / --".split(" "),
		cause: "ancestor-limit",
	}),
);

/* Older kernels lack what the machines above are made with. */
test(
	"doctor: no false alarm on this kernel, for root and for an ordinary user",
	{
		needs: ["linux:5.12", "root", "mounts", "user"],
	},
	() =>
		withTmpfs((folder) => {
			const script = (options: DoctorOptions) =>
				`console.log(JSON.stringify(await userns.doctor(${JSON.stringify(options)})));`;
			const user = { uid: OTHER_UID, gid: OTHER_UID };
			for (const [options, as] of [
				[{ for: "spawn" }, {}],
				[{ for: "rootless" }, {}],
				[{ for: "mount", path: folder }, {}],
				[{ for: "spawn" }, user],
			] as const) {
				const { ok, causes, checks } = ask<Diagnosis>(script(options), as);
				assert.deepEqual([ok, causes], [true, []], JSON.stringify([options, as]));
				for (const { state, message } of checks) assert.equal(state, "ok", message);
			}
		}),
);
