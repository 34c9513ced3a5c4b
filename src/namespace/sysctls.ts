import { readFileSync } from "node:fs";
import { UsernsError, type UsernsErrorCode } from "../errors.ts";
import { native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { kernelError, type StepName } from "../native/steps.ts";

/** The sysctls that forbid users without privilege to create user namespaces, and the steps that they make fail. */
const sysctls: { file: string; forbids: string; steps: readonly StepName[]; hint: string }[] = [
	{
		// A patch of Debian, Arch and linux-hardened: clone() is refused without CAP_SYS_ADMIN.
		file: "/proc/sys/kernel/unprivileged_userns_clone",
		forbids: "0",
		steps: ["clone"],
		hint: "Let root write 1 to",
	},
	{
		// Ubuntu since 23.10: without a profile that permits it, clone() is refused or gives no capabilities in the namespace.
		file: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
		forbids: "1",
		steps: [
			...(["clone", "proc", "uid_map", "setgroups", "gid_map", "newuidmap", "newgidmap"] as const),
			...(["enter setns", "enter unshare", "enter mount"] as const),
		],
		hint: 'Let root add a profile with the rule "userns," for this program to /etc/apparmor.d/, or write 0 to',
	},
];

/** Reads as UTF-8, because with another encoding Node 20 leaks the descriptor if fstat(2) fails. */
function read(file: string): string | undefined {
	try {
		return readFileSync(file, "utf8").trim();
	} catch {
		return undefined;
	}
}

/** The hint for a step that a sysctl has made fail. Undefined for root, to whom these sysctls do not apply. */
export function restriction(step: string | undefined, error: number): string | undefined {
	if (process.geteuid?.() === 0 || step === undefined) return undefined;
	// newuidmap and newgidmap report a refusal in words, without an errno.
	const refused = error === ERRNO.EPERM || error === ERRNO.EACCES || step.startsWith("new");
	if (!refused) return undefined;
	for (const { file, forbids, steps, hint } of sysctls) {
		if (steps.includes(step as StepName) && read(file) === forbids)
			return `${hint} ${file}: it is ${forbids}.`;
	}
	return undefined;
}

const LIMIT = "/proc/sys/user/max_user_namespaces";

/** The hint for ENOSPC, with the current limit. */
export function limitHint(): string {
	const limit = read(LIMIT);
	if (limit === "0")
		return `Let root switch user namespaces on, for example "sysctl user.max_user_namespaces=15000": ${LIMIT} is 0.`;
	const now = limit === undefined ? "" : `, which is ${limit}`;
	return `Close unused user namespaces, or raise ${LIMIT}${now}. They can be nested at most 32 deep.`;
}

const DUMPABLE = "/proc/sys/fs/suid_dumpable";

/** The error for a machine on which a joining process could be traced: refuse_traceable() in native/userns/read-maps.c. */
export function traceable(code: UsernsErrorCode, tried: string): UsernsError {
	return new UsernsError(code, `${tried}: a process in the namespace could trace the process that joins it`, {
		step: "protecting the joining process from being traced",
		hint: `Let root write 0 or 2 to ${DUMPABLE}: it is 1, which proc_sys_fs(5) calls insecure.`,
	});
}

/** The error for a suid_dumpable that cannot be read and may be 1. EXDEV: /proc/sys is hidden (native/proc/sysctl.h). */
export function dumpableUnknown(code: UsernsErrorCode, tried: string, error: number): UsernsError {
	if (error !== ERRNO.EXDEV) return kernelError(code, tried, { error, step: "suid_dumpable" });
	return new UsernsError(
		code,
		`${tried}: ${DUMPABLE} is hidden; if it is 1, a process in the namespace could trace the process that joins it`,
		{
			step: "reading fs.suid_dumpable",
			hint: "Make /proc/sys visible to this process: set ProcSubset=all in its systemd unit, mount /proc without subset=pid, or unmount what covers /proc/sys.",
		},
	);
}

/**
 * Throws unless a process of this package can join a namespace without being traced there. The process is not dumpable, but
 * each change of its IDs sets dumpable to the value of suid_dumpable (commit_creds() in kernel/cred.c). With 1, measured, an
 * attacker in the namespace traces the process while it still has IDs of the host. Only machines for debugging use 1.
 */
export function refuseTraceable(code: UsernsErrorCode, tried: string): void {
	const value = native().suidDumpable();
	if (value < 0) throw dumpableUnknown(code, tried, value);
	if (value === 1) throw traceable(code, tried);
}
