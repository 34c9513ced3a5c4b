import { causeHint, remainingHint } from "../inspect/causes.ts";
import type { DryCall } from "../inspect/facts.ts";
import { ERRNO } from "../native/errno.ts";
import type { Hints } from "../native/steps.ts";

const refused = (call: DryCall) => () =>
	causeHint({ operation: "run", doing: "starting a program of this package", calls: [call] }) ??
	remainingHint();

/**
 * Hints for the memory file of userns-join or userns-enter (native/child/own-program.c). vm.memfd_noexec is a sysctl of the PID
 * namespace (Documentation/admin-guide/sysctl/vm.rst).
 */
export const ownProgramHints: Hints = {
	[ERRNO.EACCES]: 'Set the sysctl vm.memfd_noexec to 0 or 1: "sysctl vm.memfd_noexec=1".',
	[ERRNO.EPERM]: refused("memfd_create"),
	[ERRNO.EFBIG]: "Raise RLIMIT_FSIZE (LimitFSIZE= of systemd) above 16 KiB.",
	[ERRNO.EINVAL]: "Raise RLIMIT_NOFILE above the number of stdio descriptors.",
	[ERRNO.EMFILE]: "Raise RLIMIT_NOFILE, or close descriptors.",
};

/** Hints for the execution of that file. */
export const executeHints: Hints = { ...ownProgramHints, [ERRNO.EPERM]: refused("execveat") };
