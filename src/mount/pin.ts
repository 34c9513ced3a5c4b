import { checkPath, invalidArgument, show, type UsernsError } from "../errors.ts";
import { UserNamespace } from "../namespace/user-namespace.ts";
import { native, type Outcome, WALK_END } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { type Operation, runAsync, runSync } from "../native/operation.ts";
import { type Hints, hintIn, kernelError } from "../native/steps.ts";
import { mountRefused } from "./mount-errors.ts";
import { copyPathOptions, lookUp, lookUpError, nameIn, type PathOptions } from "./path-options.ts";

/**
 * Keeps a user namespace at a path, with no process and no descriptor: mounts it on a new, empty file, as
 * `ip netns add` does for network namespaces. `UserNamespace.open(path)` opens it again, `unmount(path)` unmounts it.
 * Throws `ERR_USERNS_PIN` and changes nothing if the file exists, or if a symbolic link on the path belongs to another
 * user. Needs CAP_SYS_ADMIN.
 */
export function pin(namespace: UserNamespace, path: string, options?: PathOptions): void {
	const checked = check("pin", namespace, path, options);
	native().close(runSync(pinAt(namespace.fd, path, checked)));
}

/** Like `pin`, but does not block the event loop on a file system that does not answer. */
export async function pinAsync(namespace: UserNamespace, path: string, options?: PathOptions): Promise<void> {
	const checked = check("pinAsync", namespace, path, options);
	const held = namespace.dup(); // the caller can close the namespace during the call
	let pinned: number;
	try {
		pinned = await runAsync(pinAt(held.fd, path, checked));
	} finally {
		held.close();
	}
	// Closed last, which acknowledges the mount: if this thread ends earlier, the mount is unmounted.
	native().close(pinned);
}

function check(
	what: string,
	namespace: unknown,
	path: unknown,
	options: PathOptions | undefined,
): PathOptions {
	if (!(namespace instanceof UserNamespace)) {
		throw invalidArgument(`${what}: the namespace must be a UserNamespace, not ${show(namespace)}`);
	}
	checkPath(`${what}: the path`, path);
	return copyPathOptions(what, path, options);
}

/** Returns a descriptor of the mount. The mount is unacknowledged until it is closed (src/native/addon.ts, `attach`). */
function* pinAt(ns: number, path: string, options: PathOptions): Operation<number> {
	const parent = yield* lookUp(WALK_END.parent, path, options);
	if (parent.error < 0) throw pinError(path, parent);
	const { name } = parent;
	try {
		// The path ends in "." or "..", an existing directory.
		if (name === undefined) throw pinError(path, { ...parent, error: ERRNO.EEXIST });
		const file = yield nameIn(WALK_END.create, parent.fd, name);
		if (file.error < 0 && file.step !== "own") throw pinError(path, file, createHints);
		const pinned = file.error < 0 ? file : yield* mountOn(ns, file.fd);
		if (pinned.error >= 0) return pinned.fd;
		const removed = yield nameIn(WALK_END.remove, parent.fd, name);
		const left = removed.error < 0 ? `, and its empty file stays at ${show(path)}` : "";
		const outcome = pinned.step === "open_tree" ? { ...pinned, step: "pin copy" } : pinned;
		throw kernelError("ERR_USERNS_PIN", `${tried(path)}${left}`, outcome, {
			hint: hintIn(pinHints, pinned.error),
		});
	} finally {
		native().close(parent.fd);
	}
}

function* mountOn(ns: number, file: number): Operation<Outcome> {
	try {
		return yield (later) => native().pin(ns, file, later);
	} finally {
		native().close(file);
	}
}

function tried(path: string): string {
	return `cannot pin a user namespace at ${show(path)}`;
}

function pinError(path: string, outcome: Outcome, hints: Hints = pinHints): UsernsError {
	return lookUpError("ERR_USERNS_PIN", tried(path), outcome, hints);
}

const mountingRefused = mountRefused("pinning", "open_tree");

const pinHints: Hints = {
	[ERRNO.EEXIST]:
		"Choose another path, or unmount the namespace that is pinned there, or remove the file if it is empty: the file exists.",
	[ERRNO.ENOENT]: "Create the directory first.",
	[ERRNO.EPERM]: mountingRefused,
	[ERRNO.EACCES]: mountingRefused,
	[ERRNO.EOVERFLOW]:
		"Choose a path that is not on an ID-mapped mount, because root's ID is not visible there.",
};

/** After the file may have been created. */
const createHints: Hints = {
	...pinHints,
	[ERRNO.ETIMEDOUT]:
		"Check the file system of the directory: it did not create the file within ten seconds, and may still do so. Nothing is mounted.",
};
