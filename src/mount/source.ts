import { describeErrno, UsernsError } from "../errors.ts";
import { native } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { runAsync } from "../native/operation.ts";
import { RESOLVE } from "./attach-options.ts";
import { findMount } from "./find-mount.ts";
import { openLocation } from "./location.ts";
import { mountError } from "./mount-errors.ts";
import type { MountNamespace } from "./mount-namespace.ts";
import type { MountRequest } from "./mount-options.ts";

/**
 * Opens the source, with `from` in that mount namespace and below its root, in a child with a time limit. The caller closes the
 * descriptor.
 */
export async function openSource(
	{ source, resolve }: MountRequest,
	from: MountNamespace | undefined,
	tried: string,
): Promise<number> {
	const below = resolve | RESOLVE.inRoot | RESOLVE.noMagicLinks;
	const opened =
		from === undefined || typeof source === "number"
			? await openLocation(source, resolve, true)
			: await native().openLocation(from.root?.fd ?? -1, source, below, from.descriptor.fd, false);
	if (opened.error >= 0) return opened.fd;
	throw mountError(tried, "", opened);
}

/** Whether the mount of the source is in another mount namespace than that of `from`, or of this process. */
export async function isElsewhere({ source, resolve, fromNs }: MountRequest): Promise<boolean> {
	const opened = await openLocation(source, resolve);
	if (opened.error < 0) return false;
	try {
		return (await runAsync(findMount(opened.fd, fromNs, "ERR_USERNS_READ_MOUNTS", ""))) === undefined;
	} catch {
		return false; // only a message needs it
	} finally {
		native().close(opened.fd);
	}
}

/** The error for a source that cannot be copied because its mount is in another mount namespace; undefined after any other error. */
export async function elsewhereError(
	request: MountRequest,
	tried: string,
	error: unknown,
): Promise<UsernsError | undefined> {
	if (!(error instanceof UsernsError) || error.errno !== ERRNO.EINVAL) return undefined;
	const { step, syscall, mapping, errno } = error;
	if (syscall !== "open_tree" && syscall !== "open_tree_attr") return undefined;
	if (!(await isElsewhere(request))) return undefined;
	const { shown, from, itself } = request;
	const [, pid, path = "/"] = /^"\/proc\/(\d+)\/root(\/.*)?"$/.exec(shown) ?? [];
	let words = "is in another mount namespace";
	if (from !== undefined) words = "is not in that mount namespace";
	else if (itself) words += " and attached there, or its file system cannot be ID-mapped";
	else if (pid === undefined) words += ", or is detached and cannot be copied";
	const hint =
		pid === undefined
			? "Set { from: PID } of a process in that mount namespace, and name the source as that process sees it."
			: `Set { from: ${pid} }, and name the source as that process sees it: "${path}".`;
	return new UsernsError(
		"ERR_USERNS_MOUNT",
		`${tried}: the mount of the source ${words}: ${step}: ${describeErrno(errno)}`,
		{
			...{ step, syscall, mapping, errno, hint },
		},
	);
}
