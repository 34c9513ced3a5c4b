import { UserNamespace } from "../index.ts";

/** TARGET of a command: digits alone are a pid, everything else is a path. */
export function openTarget(target: string): UserNamespace {
	return UserNamespace.open(/^\d+$/.test(target) ? Number(target) : target);
}
