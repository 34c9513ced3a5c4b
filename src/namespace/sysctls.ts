import { readFileSync } from "node:fs";
import { UsernsError, type UsernsErrorCode } from "../errors.ts";
import { native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { kernelError } from "../native/steps.ts";

/** The settings of a machine that keep ordinary users from making user namespaces, and which answers they cause. */
const settings: { file: string; forbids: string; steps: readonly string[]; hint: string }[] = [
	{
		// A patch of Debian, Arch and linux-hardened: clone() is refused without CAP_SYS_ADMIN.
		file: "/proc/sys/kernel/unprivileged_userns_clone",
		forbids: "0",
		steps: ["clone"],
		hint: "let root write 1 to it (sysctl kernel.unprivileged_userns_clone=1)",
	},
	{
		// Ubuntu since 23.10: without a profile that says so, clone() is refused, or there are no capabilities inside.
		file: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
		forbids: "1",
		steps: [
			...["clone", "proc", "uid_map", "setgroups", "gid_map", "newuidmap", "newgidmap"],
			...["enter setns", "enter unshare", "enter mount"],
		],
		hint: 'let root add a profile with the rule "userns," for this program to /etc/apparmor.d/, or write 0 to that file',
	},
];

/** As UTF-8: with another encoding Node 20 keeps the descriptor open where fstat(2) fails. */
function read(file: string): string | undefined {
	try {
		return readFileSync(file, "utf8").trim();
	} catch {
		return undefined;
	}
}

/** Why a step was refused, when a setting says so: what to do about it. Never for root, whom they do not concern. */
export function restriction(step: string | undefined, error: number): string | undefined {
	if (process.geteuid?.() === 0 || step === undefined) return undefined;
	// A program that was refused has told so in words only.
	const refused = error === ERRNO.EPERM || error === ERRNO.EACCES || step.startsWith("new");
	if (!refused) return undefined;
	for (const { file, forbids, steps, hint } of settings) {
		if (steps.includes(step) && read(file) === forbids) return `${file} says ${forbids}: ${hint}.`;
	}
	return undefined;
}

const LIMIT = "/proc/sys/user/max_user_namespaces";

/** For ENOSPC: the limit as it is now. */
export function limitHint(): string {
	const most = read(LIMIT);
	const now = most === undefined ? "See" : `${LIMIT} says ${most}: raise`;
	return `${now} ${most === undefined ? LIMIT : "it"}, or close namespaces that are not used any more; or they are nested more than 32 deep already.`;
}

const DUMPABLE = "/proc/sys/fs/suid_dumpable";

/** Of a machine on which a process of ours cannot join without being traced: see refuse_traceable() in native/userns/read-maps.c. */
export function traceableError(code: UsernsErrorCode, tried: string): UsernsError {
	return new UsernsError(code, `${tried}: on this machine whoever lives in it could trace who joins it`, {
		step: "making sure that the joining process cannot be traced",
		hint: `${DUMPABLE} says 1, which proc_sys_fs(5) calls insecure: let root write 0 or 2 to it.`,
	});
}

/**
 * The error for a setting that cannot be read, which may be 1. native/proc/sysctl.h returns EXDEV for a hidden /proc/sys.
 */
export function unknownDumpableError(code: UsernsErrorCode, tried: string, error: number): UsernsError {
	if (error !== ERRNO.EXDEV) return kernelError(code, tried, { error, step: "suid_dumpable" });
	return new UsernsError(
		code,
		`${tried}: ${DUMPABLE} is hidden; if it is 1, a process inside could trace the process that joins`,
		{
			step: "reading fs.suid_dumpable",
			hint: "Make /proc/sys visible to this process: set ProcSubset=all in its systemd unit, mount /proc without subset=pid, or unmount what is mounted over /proc/sys.",
		},
	);
}

/**
 * Before a process of ours joins a namespace. It is not dumpable, so that nobody inside can trace it, but each change
 * of its IDs makes it what this setting says (commit_creds() in kernel/cred.c): with 1, measured, an attacker inside
 * gets hold of it while it still has IDs of the host's. Only a few machines for debugging have that.
 */
export function refuseTraceable(code: UsernsErrorCode, tried: string): void {
	const setting = native().suidDumpable();
	if (setting < 0) throw unknownDumpableError(code, tried, setting);
	if (setting === 1) throw traceableError(code, tried);
}
