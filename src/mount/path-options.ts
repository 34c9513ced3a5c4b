import { invalidArgument, type UsernsError, type UsernsErrorCode } from "../errors.ts";
import { native, type Outcome, WALK_END, WALK_LINKS } from "../native/addon.ts";
import { ERRNO } from "../native/errno.ts";
import { linkOwner, linkRefused, NO_OWNER, SILENT_PATH } from "../native/lookup.ts";
import type { NativeCall, Operation } from "../native/operation.ts";
import { type Hints, hintIn, kernelError } from "../native/steps.ts";
import { copyOptions } from "../options.ts";
import { resolveFlags } from "./attach-options.ts";
import { checkLocation, type Location } from "./location.ts";
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

/** The names, complete by their type. */
const PATH_OPTIONS = Object.keys({ targetRoot: true, resolve: true } satisfies Record<
	keyof PathOptions,
	true
>);

/** Copies and checks the options of a path, because the caller can change them during the call. `others`: further names. */
export function copyPathOptions<T extends PathOptions & { into?: number | string }>(
	what: string,
	path: Location,
	options: T | undefined,
	others: readonly string[] = [],
): T {
	const copy = copyOptions<T>(what, options, [...others, ...PATH_OPTIONS]);
	resolveFlags(what, copy.resolve);
	if (copy.targetRoot === undefined) return copy;
	checkLocation(`${what}: targetRoot`, copy.targetRoot);
	if (typeof path === "number") {
		throw invalidArgument(
			`${what}: targetRoot needs a path, not a descriptor`,
			"Leave targetRoot out, or pass a path.",
		);
	}
	if (copy.into !== undefined) {
		throw invalidArgument(
			`${what}: targetRoot and into cannot be used together`,
			"Leave targetRoot out: with into, the path is resolved below the root of that mount namespace.",
		);
	}
	return copy;
}
/** Opens a name in a directory that a look-up has returned. A symbolic link is not followed. */
export function nameIn(end: number, directory: number, name: string): NativeCall {
	return (later) => native().walk(end, WALK_LINKS.none, NO_OWNER, -1, directory, false, name, later);
}

/** Without a prototype, because an option could be inherited from it. */
const NONE: PathOptions = Object.freeze(Object.create(null));

/** Looks a path up; with `mountNamespace`, in that namespace and below its root. */
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
			: yield* lookUp(WALK_END.location, targetRoot, NONE);
	if (root.error < 0) return root;
	try {
		return yield walk(root.fd, true);
	} finally {
		native().close(root.fd);
	}
}

/** The error of a look-up. `hints` are by errno and have precedence. */
export function lookUpError(
	code: UsernsErrorCode,
	tried: string,
	{ error, step = "target", name = "" }: Outcome,
	hints: Hints,
): UsernsError {
	const outcome = { error, step };
	const link = linkRefused(step, name);
	if (link !== undefined) return kernelError(code, `${tried}: ${link.words}`, outcome, { hint: link.hint });
	return kernelError(code, tried, outcome, { hint: hintIn(hints, error) ?? generalHints[error] });
}

const generalHints: Record<number, string> = {
	[ERRNO.ENOENT]: "Check the path: it does not exist.",
	[ERRNO.ENOTDIR]: "Check the path: a name on it is a file, not a directory.",
	[ERRNO.ELOOP]:
		'Name the path without symbolic links: { resolve: "no-symlinks" } or a nosymfollow mount refuses them, and a path has 40 at most.',
	[ERRNO.ETIMEDOUT]: `${SILENT_PATH} Nothing was changed.`,
	[ERRNO.EINTR]: "Try again: another process killed the child process that looked the path up.",
	[ERRNO.EACCES]: "Let the caller search each directory on the path.",
};
