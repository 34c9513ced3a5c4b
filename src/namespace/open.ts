import { checkPath, invalidArgument, show } from "../errors.ts";
import { CLONE_NEW, native, type Outcome } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { linkOwner, namespaceError, showNamespace } from "../native/lookup.ts";
import { completeMaps, type NamespaceMaps } from "./read-maps.ts";

/** An open user namespace, with its maps if they are known. */
export type Opened = [descriptor: Descriptor, maps: NamespaceMaps | undefined];

export function isPid(value: unknown): value is number {
	return Number.isInteger(value) && (value as number) >= 1 && (value as number) <= 0x7fffffff;
}

export function openByPid(what: string, pid: number): Opened {
	if (!isPid(pid)) {
		throw invalidArgument(`${what}: a pid must be a whole number from 1 to 2147483647, not ${show(pid)}`);
	}
	const answer = native().openPid(pid);
	if (!Array.isArray(answer)) throw openError(pid, answer);
	const [fd, maps] = answer;
	if (fd < 0) throw openError(pid, { error: fd, step: "own" });
	return [new Descriptor(fd, "UserNamespace"), completeMaps(maps)];
}

export function openByPath(what: string, path: string): Opened {
	checkPath(`${what}: the path`, path);
	return opened(path, native().openNamespace(path, CLONE_NEW.user, linkOwner(), false));
}

/** Looks the path up on another thread with a time limit. */
export async function openByPathLater(what: string, path: string): Promise<Opened> {
	checkPath(`${what}: the path`, path);
	return opened(path, await native().openNamespace(path, CLONE_NEW.user, linkOwner(), true));
}

function opened(path: string, outcome: Outcome): Opened {
	if (outcome.error < 0) throw openError(path, outcome);
	return [new Descriptor(outcome.fd, "UserNamespace"), undefined];
}

const CODES = { failed: "ERR_USERNS_OPEN", other: "ERR_USERNS_NOT_A_USER_NAMESPACE" } as const;

function openError(target: number | string, outcome: Pick<Outcome, "error" | "step" | "name">): Error {
	return namespaceError(CODES, `cannot open the user namespace ${showNamespace(target)}`, "user", outcome);
}
