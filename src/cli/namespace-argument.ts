import { type Command, InvalidArgumentError, Option } from "commander";
import {
	type ListedNamespace,
	list,
	type NamespaceHandle,
	type NamespaceKind,
	type PathOptions,
	UserNamespace,
} from "../index.ts";
import { CommandError } from "./output.ts";

/** A key for each kind, so that a new one does not compile without its word. */
const KINDS: Readonly<Record<NamespaceKind, true>> = {
	...{ mount: true, pid: true, net: true, ipc: true },
	...{ uts: true, cgroup: true, time: true },
};

/** The words that --unshare accepts. */
export const namespaceKinds: readonly string[] = Object.keys(KINDS);

/** Parses an option whose value is a number. The library checks its range. */
export function wholeNumber(what: string): (text: string) => number {
	return (text) => {
		if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError(`${what} must be a whole number.`);
		return Number(text);
	};
}

/** PROC_DYNAMIC_FIRST in include/linux/proc_fs.h, without the initial namespaces: no pid is that large. */
const FIRST_INODE = 0xefffffff - 7;

/** Whether the TARGET of a command is a pid: digits alone are one, unless the number is too large and is an inode number. */
export function isPid(target: string): boolean {
	return /^\d+$/.test(target) && Number(target) < FIRST_INODE;
}

export function pidOrPath(target: string): number | string {
	return isPid(target) ? Number(target) : target;
}

/** Opens a pid, a path, or a namespace of the list: an inode number, or ":" and a namespace ID as nsenter(1) has it. */
export async function openTarget(target: string): Promise<UserNamespace> {
	if (isPid(target)) return UserNamespace.openAsync(Number(target));
	const listed = /^(:?)(\d{1,20})$/.exec(target);
	if (listed === null) return UserNamespace.openAsync(target);
	const number = BigInt(listed[2] ?? "");
	const isWanted = ({ id, inode }: ListedNamespace) => number === (listed[1] === ":" ? id : BigInt(inode));
	const found = (await list()).namespaces.find(isWanted);
	for (const open of found === undefined ? [] : waysTo(found)) {
		try {
			const namespace = await UserNamespace.openAsync(open);
			if (isWanted(namespace as never)) return namespace;
			namespace.close();
		} catch {
			// The process or the descriptor has gone; the next holder may still be there.
		}
	}
	throw new CommandError(
		`cannot open the user namespace ${JSON.stringify(target)}: ${found === undefined ? "it is not in the list" : "its holders cannot be opened"}`,
		'See "userns ls". To name a process write its pid, and for a file with this name write ./ before it.',
		"ERR_USERNS_OPEN",
	);
}

function waysTo({ id, inode, processes, holders }: ListedNamespace): (number | string | NamespaceHandle)[] {
	const paths = holders.flatMap((each) =>
		each.kind === "descriptor"
			? [`/proc/${each.pid}/fd/${each.fd}`]
			: each.kind === "mount"
				? [each.path]
				: [],
	);
	return [...processes.slice(0, 3), ...(id === undefined ? [] : [{ id, inode }]), ...paths];
}

/** The option `into` of a mount for --into. Left out if it is not given. */
export function containerOf(into: string | undefined): { into?: number | string } {
	return into === undefined ? {} : { into: pidOrPath(into) };
}

/** Adds the options of every command whose path may contain a symbolic link of another user. */
export function addPathOptions(command: Command): Command {
	return command
		.option("--target-root <dir>", "look the path up below this directory")
		.addOption(new Option("--resolve <how>", "refuse paths with symbolic links").choices(["no-symlinks"]));
}

/** The path options of the call. */
export function pathOptions({ targetRoot, resolve }: PathOptions): PathOptions {
	return {
		...(targetRoot !== undefined && { targetRoot }),
		...(resolve !== undefined && { resolve }),
	};
}

/** The help about these options, below the option list. */
export const PATH_HELP = `
The command follows a symbolic link on the path only if the link belongs to root
or to the caller. With --resolve no-symlinks it follows none.`;
