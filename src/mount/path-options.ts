import { invalidArgument, type UsernsError, type UsernsErrorCode } from "../errors.ts";
import { native, type Outcome, WALK_END, WALK_LINKS } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { linkOwner, linkRefused, NO_OWNER } from "../native/lookup.ts";
import type { NativeCall, Operation } from "../native/operation.ts";
import { kernelError } from "../native/steps.ts";
import { checkLocation, resolveFlags } from "./attach-options.ts";
import type { MountNamespace } from "./mount-namespace.ts";

/**
 * How a path is looked up. By default a symbolic link on it is followed only if it belongs to root or to the caller's
 * effective uid; the link of another user is an error. A look-up fails after about ten seconds.
 */
export interface PathOptions {
	/**
	 * The directory (a path or a descriptor) below which the path is resolved, as after chroot(2): neither `..` nor a
	 * symbolic link leads out of it.
	 */
	targetRoot?: string | number;
	/** `"no-symlinks"` refuses a path that contains a symbolic link. */
	resolve?: "no-symlinks";
}

export const PATH_OPTIONS = ["targetRoot", "resolve"] as const;

/**
 * Throws for invalid PathOptions. An option that is present but undefined throws too, because ignoring it would widen
 * the look-up.
 */
export function checkPathOptions(what: string, options: PathOptions & { into?: number | string }): void {
	for (const name of ["into", ...PATH_OPTIONS] as const) {
		if (name in options && options[name] === undefined) {
			throw invalidArgument(`${what}: ${name} is undefined`, "Leave the option out, or give it a value.");
		}
	}
	resolveFlags(what, options.resolve);
	if (options.targetRoot === undefined) return;
	checkLocation(`${what}: targetRoot`, options.targetRoot);
	if (options.into !== undefined) {
		throw invalidArgument(
			`${what}: there is both a targetRoot and an into`,
			"Leave targetRoot out: with into, the path is resolved below the root of that mount namespace.",
		);
	}
}

/** How a name in a directory that a look-up has returned is opened: nothing is followed. */
export function nameIn(end: number, directory: number, name: string): NativeCall {
	return (later) => native().walk(end, WALK_LINKS.none, NO_OWNER, -1, directory, false, name, later);
}

/** Has no prototype, because an option could be inherited from it. */
const NONE: PathOptions = Object.freeze(Object.create(null));

/** Looks a path up; with `inside`, in that mount namespace and below its root. */
export function* lookUp(
	end: number,
	path: string,
	options: PathOptions,
	mountNamespace?: MountNamespace,
): Operation<Outcome> {
	const links = options.resolve === undefined ? WALK_LINKS.own : WALK_LINKS.none;
	const walk =
		(start: number, contained: boolean): NativeCall =>
		(later) =>
			native().walk(
				end,
				links,
				linkOwner(),
				mountNamespace?.descriptor.fd ?? -1,
				start,
				contained,
				path,
				later,
			);
	if (mountNamespace !== undefined) return yield walk(mountNamespace.root?.fd ?? -1, true);
	const { targetRoot } = options;
	if (targetRoot === undefined) return yield walk(-1, false);
	const root: Outcome =
		typeof targetRoot === "number"
			? yield () => native().duplicate(targetRoot)
			: yield* lookUp(WALK_END.place, targetRoot, NONE);
	if (root.error < 0) return root;
	try {
		return yield walk(root.fd, true);
	} finally {
		native().close(root.fd);
	}
}

/** A look-up that failed, as an error. `hints`: by errno. */
export function lookUpError(
	code: UsernsErrorCode,
	tried: string,
	{ error, step = "target", name = "" }: Outcome,
	hints: Readonly<Record<number, string>>,
): UsernsError {
	const outcome = { error, step };
	const link = linkRefused(step, name);
	if (link !== undefined) return kernelError(code, `${tried}: ${link.words}`, outcome, { hint: link.hint });
	return kernelError(code, tried, outcome, { hint: hints[error] ?? generalHints[error] });
}

const generalHints: Record<number, string> = {
	[ERRNO.ENOENT]: "There is no such path.",
	[ERRNO.ENOTDIR]: "A name on the path is a file, not a directory.",
	[ERRNO.ELOOP]:
		'A symbolic link lies on the path where resolve: "no-symlinks" refuses it or the mount is nosymfollow, it is a magic link of /proc that leads out of the given root, or the path has more than 40 links.',
	[ERRNO.ETIMEDOUT]:
		"A file system on the path did not answer within ten seconds: check the FUSE and network file systems on it. Nothing was changed.",
	[ERRNO.EINTR]: "Another process killed the child process that looked the path up: try again.",
	[ERRNO.EACCES]: "The caller may not search a directory on the path.",
};
