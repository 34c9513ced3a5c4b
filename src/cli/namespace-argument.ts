import { type Command, InvalidArgumentError, Option } from "commander";
import { type NamespaceKind, type PathOptions, UserNamespace } from "../index.ts";

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

/** Whether the TARGET of a command is a pid: digits alone are one, everything else is a path. */
export function isPid(target: string): boolean {
	return /^\d+$/.test(target);
}

export function pidOrPath(target: string): number | string {
	return isPid(target) ? Number(target) : target;
}

export function openTarget(target: string): Promise<UserNamespace> {
	return UserNamespace.openAsync(pidOrPath(target));
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
