import { release } from "node:os";
import { readText, STATUS, statusField } from "./process-status.ts";

/** The version of Linux that has the call, from the manual pages. docs/kernel-features.md is written from it. */
export const SINCE: Readonly<Record<string, string>> = {
	memfd_create: "3.17",
	execveat: "3.19",
	open_tree: "5.2",
	move_mount: "5.2",
	fsopen: "5.2",
	fsconfig: "5.2",
	fsmount: "5.2",
	clone3: "5.3",
	pidfd_open: "5.3",
	openat2: "5.6",
	close_range: "5.9",
	mount_setattr: "5.12",
	statmount: "6.8",
	listmount: "6.8",
	open_tree_attr: "6.15",
	listns: "6.19",
};

function isAtLeast(running: string, wanted: string): boolean {
	const [major = 0, minor = 0] = running.split(".").map(Number.parseFloat);
	const [wantedMajor = 0, wantedMinor = 0] = wanted.split(".").map(Number);
	return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

/** The version of Linux that has the call, if the running one is older. */
export function sinceOf(call: string, running: string): string | undefined {
	const since = Object.hasOwn(SINCE, call) ? SINCE[call] : undefined;
	return since === undefined || isAtLeast(running, since) ? undefined : since;
}

/**
 * The hint for ENOSYS. A seccomp filter that answers with ENOSYS cannot be told from a kernel without the call by calling it, but
 * by the version of a kernel that has the call.
 */
export function missingCallHint(
	syscall: string,
	running: string = release(),
	status: string | undefined = readText(STATUS),
): string {
	const since = Object.hasOwn(SINCE, syscall) ? SINCE[syscall] : undefined;
	const seccomp = statusField(status, "Seccomp");
	const isNew = since !== undefined && isAtLeast(running, since);
	if (isNew && seccomp === "2") {
		return `Allow ${syscall}(2) in the seccomp filter of this process: Linux ${running} has the call, and the filter refuses it.`;
	}
	const newer = since === undefined ? "a newer kernel" : `Linux ${since} or later`;
	const filter =
		seccomp === "0"
			? ""
			: seccomp === undefined
				? " If a seccomp filter is installed, it may refuse the call: /proc does not tell."
				: " A seccomp filter is installed, and may refuse the call as well.";
	return `Use ${newer}, which has ${syscall}(2): this Linux ${running} does not have it.${filter}`;
}
