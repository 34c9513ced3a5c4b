import { causeHint, remainingHint } from "../inspect/causes.ts";
import type { DryCall } from "../inspect/facts.ts";
import { ERRNO } from "../native/errno.ts";
import type { Hints } from "../native/steps.ts";

const refused =
	(call: DryCall, error: number = ERRNO.EPERM) =>
	() =>
		causeHint({ operation: "run", doing: "starting a program of this package", calls: [call], error }) ??
		remainingHint("run");

/** Hints for the memory file of userns-join or userns-enter (native/child/own-program.c). */
export const ownProgramHints: Hints = {
	[ERRNO.EACCES]: refused("memfd_create", ERRNO.EACCES),
	[ERRNO.EPERM]: refused("memfd_create"),
	[ERRNO.EFBIG]: refused("memfd_create", ERRNO.EFBIG),
	[ERRNO.EINVAL]: "Raise RLIMIT_NOFILE above the number of stdio descriptors.",
	[ERRNO.EMFILE]: "Raise RLIMIT_NOFILE, or close descriptors.",
};

/** Hints for the execution of that file. */
export const executeHints: Hints = { ...ownProgramHints, [ERRNO.EPERM]: refused("execveat") };
