import { checkPath, invalidArgument, show, UsernsError } from "../errors.ts";
import { CLONE_NEW, native, type Outcome } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { linkOwner, namespaceError, showNamespace } from "../native/lookup.ts";
import { kernelError } from "../native/steps.ts";
import { copyOptions } from "../options.ts";
import { completeMaps, type NamespaceMaps } from "./read-maps.ts";

/** Identifies a user namespace until the next boot. */
export interface NamespaceHandle {
	/** The namespace ID, `UserNamespace.id`. */
	id: bigint | number;
	/** The inode number. Before Linux 7.2 the kernel requires it. */
	inode?: number | undefined;
}

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

export function openById(what: string, handle: object): Opened {
	const { id, inode = 0 } = copyOptions<NamespaceHandle>(what, handle, ["id", "inode"]);
	const isId = typeof id === "bigint" ? id > 0n && id >> 64n === 0n : Number.isSafeInteger(id) && id > 0;
	if (!isId)
		throw invalidArgument(`${what}: the id of a namespace must be a whole number above 0, not ${show(id)}`);
	if (!Number.isInteger(inode) || inode < 0 || inode > 0xffffffff) {
		throw invalidArgument(
			`${what}: an inode must be a whole number from 0 to 4294967295, not ${show(inode)}`,
		);
	}
	const outcome = native().openId(BigInt(id), inode);
	if (outcome.error >= 0) return [new Descriptor(outcome.fd, "UserNamespace"), undefined];
	const tried = `cannot open the user namespace with the ID ${id}`;
	if (outcome.error === ERRNO.EBADF) {
		throw new UsernsError(
			"ERR_USERNS_UNSUPPORTED_KERNEL",
			`${tried}: the kernel opens namespaces by ID since Linux 6.18`,
			{
				hint: "Open the namespace by a pid or a path.",
				step: "opening the namespace by its ID",
			},
		);
	}
	throw kernelError("ERR_USERNS_OPEN", tried, outcome, { hint: inode === 0 ? WITHOUT_INODE : BY_ID });
}

const BY_ID =
	"The namespace has ended, or the ID is from an earlier boot, or the caller is not root in the initial user and pid namespace.";
const WITHOUT_INODE = `${BY_ID} Before Linux 7.2, pass the inode too.`;

function opened(path: string, outcome: Outcome): Opened {
	if (outcome.error < 0) throw openError(path, outcome);
	return [new Descriptor(outcome.fd, "UserNamespace"), undefined];
}

const CODES = { failed: "ERR_USERNS_OPEN", other: "ERR_USERNS_NOT_A_USER_NAMESPACE" } as const;

function openError(target: number | string, outcome: Pick<Outcome, "error" | "step" | "name">): Error {
	return namespaceError(CODES, `cannot open the user namespace ${showNamespace(target)}`, "user", outcome);
}
