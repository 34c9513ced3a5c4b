import { UsernsError, type UsernsErrorCode } from "../errors.ts";
import { native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { kernelError } from "../native/steps.ts";

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
