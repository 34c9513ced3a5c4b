import type { FoundCause } from "../errors.ts";
import { ERRNO } from "../native/errno.ts";
import { STATUS } from "../native/process-status.ts";
import { isReadDenied } from "../permission.ts";
import type { Cause, Refusal } from "./cause.ts";
import { Facts } from "./facts.ts";
import { type HelperCauseId, helperCauses } from "./helper-causes.ts";
import { type KernelCauseId, kernelCauses } from "./kernel-causes.ts";

/*
 * The causes for which an operation of this package is refused. Each one is found by reading, or by a call without an effect, never from
 * the error number alone. Only apparmor-profile is found by elimination.
 */

export type CauseId = KernelCauseId | HelperCauseId;

const { "apparmor-profile": byElimination, ...others } = kernelCauses;

/** In the order in which a hint gives them. docs/causes.md has a row for each one. */
export const causes: Readonly<Record<CauseId, Cause>> = {
	...others,
	...helperCauses,
	"apparmor-profile": byElimination,
};

const REFUSED: readonly number[] = [ERRNO.EPERM, ERRNO.EACCES];

/** The causes that apply to a refusal. */
export function findCauses(refusal: Refusal, facts: Facts = new Facts()): FoundCause[] {
	const { operation, error = ERRNO.EPERM } = refusal;
	const found: FoundCause[] = [];
	for (const [id, cause] of Object.entries(causes)) {
		const { explains, errors = REFUSED, last = false } = cause;
		if (cause === byElimination || !explains.includes(operation) || !errors.includes(error)) continue;
		if (!last || found.length === 0) found.push(...foundCause(id, cause, refusal, facts));
	}
	return found;
}

/** The cause, if it applies. */
function foundCause(id: string, cause: Cause, refusal: Refusal, facts: Facts): FoundCause[] {
	const evidence = cause.check(facts, refusal);
	if (evidence === undefined) return [];
	const [consequence, command] = [cause.consequence(refusal, facts), cause.command?.(facts, refusal)];
	const message = `${evidence}, and ${consequence}`;
	const fix = cause.fix(facts, refusal);
	return [{ id, message, evidence, consequence, fix, ...(command !== undefined && { command }) }];
}

/** The causes of a refusal as a hint; undefined if none is found. */
export function causeHint(refusal: Refusal, facts?: Facts): FoundCause[] | undefined {
	const found = findCauses(refusal, facts);
	return found.length === 0 ? undefined : found;
}

/**
 * The hint if no cause is found, and the caller knows no other reason: a profile of AppArmor, or what remains. chroot(2) into a mount is
 * found only if another process shows that mount elsewhere.
 */
export function remainingHint(
	operation?: Refusal["operation"],
	facts: Facts = new Facts(),
): string | FoundCause[] {
	if (facts.has("CAP_SYS_ADMIN") === undefined) {
		if (isReadDenied(STATUS))
			return "Start Node.js with --allow-fs-read=/proc, without which the cause cannot be found.";
		return "Mount a procfs of this pid namespace at /proc: the cause cannot be found without it.";
	}
	if (operation !== undefined && byElimination.explains.includes(operation)) {
		const found = foundCause("apparmor-profile", byElimination, { operation, doing: "" }, facts);
		if (found.length > 0) return found;
	}
	const chroot = operation === "create" ? "whether this process runs after chroot(2), and " : "";
	return `Check ${chroot}the security modules of this machine (AppArmor, SELinux, Landlock): no other cause of the refusal was found.`;
}
