import { checkPath, invalidArgument, show, UsernsError } from "../errors.ts";
import type { Mapping } from "../mapping/mapping.ts";
import { findMount } from "../mount/find-mount.ts";
import { mapOf } from "../mount/held-maps.ts";
import { isIdmapped, type MountEntry, superOptionsOf } from "../mount/mount-entry.ts";
import { readMounts } from "../mount/mountinfo.ts";
import { lookUp, lookUpError, nameIn } from "../mount/path-options.ts";
import { type Answer, ask } from "../namespace/ask.ts";
import { isPid } from "../namespace/open.ts";
import { CLONE_NEW, native, type Outcome, WALK_END } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { overflowId, SILENT_PATH } from "../native/lookup.ts";
import { type NativeCall, type Operation, runAsync } from "../native/operation.ts";
import { kernelError } from "../native/steps.ts";
import { copyOptions, ownCopy } from "../options.ts";
import { ownExtents } from "../subid/own-extents.ts";
import { follow, type OwnerChain } from "./chain.ts";
import { type Access, accessOf } from "./rules.ts";
import { needsTable, servedLayer } from "./served.ts";
import { checkAs, checkChownTo, type ExplainAs, subjectOf } from "./subject.ts";
import { closeView, openView, type View } from "./view.ts";

/** Options of `explain`. */
export interface ExplainOptions {
	/** The pid of a process: the path is looked up as that process does, and the view is that of its user namespace. */
	in?: number;
	/**
	 * The IDs for which `access` is answered, in the user namespace of the view, as an object or as `"USER[:GROUP][,GROUPS]"`. Uid 0 has
	 * every capability of the process's bounding set, and another uid has none.
	 */
	as?: ExplainAs | string | undefined;
	/** The owner and group for which `chown` is answered: `"UID"`, `"UID:GID"` or `":GID"`. Default: those of `as`. */
	chownTo?: string | undefined;
}

/** The owner of a file from the disk to stat(2), and what a process may do with the file. */
export interface Explanation {
	path: string;
	/** The mode, as stat(2) shows it. */
	mode: number;
	/** The mount of the file. */
	mount: {
		mountPoint: string;
		fsType: string;
		options: readonly string[];
		idmapped: boolean;
		/** Disk to visible, in the IDs of the caller's user namespace. */
		mapping: Mapping | undefined;
		/** Why the map is not known. */
		unknown: string | undefined;
	};
	/** The user namespace of the process, unless it is the caller's. */
	namespace: { pid: number; mapping: Mapping } | undefined;
	uid: OwnerChain;
	gid: OwnerChain;
	/** What a process with the IDs of `as` may do with the file. Only with `as`. */
	access: Access | undefined;
}

const OPTIONS = Object.keys({ in: true, as: true, chownTo: true } satisfies Record<
	keyof ExplainOptions,
	true
>);

/** File systems that can belong to another user namespace than the initial one (FS_USERNS_MOUNT). */
const OF_NAMESPACES =
	/^(tmpfs|ramfs|overlay|fuse.*|proc|sysfs|devpts|mqueue|cgroup2?|bpf|binder|binfmt_misc)$/;

/** PROC_USER_INIT_INO in include/linux/proc_ns.h: the inode number of the initial user namespace. */
const INITIAL = 0xeffffffdn;

/**
 * Explains the owner of a file: on disk, visible through its mount, and in the user namespace of a process, with the first step at which it
 * has no ID. With `as`, it also says what a process with these IDs may do with the file; it asks the kernel without changing the file.
 * Rejects with `ERR_USERNS_EXPLAIN` if the path or the process cannot be opened.
 */
export async function explain(path: string, options?: ExplainOptions): Promise<Explanation> {
	checkPath("explain: the path", path);
	const { in: pid, as, chownTo } = copyOptions<ExplainOptions>("explain", options, OPTIONS);
	if (pid !== undefined && !isPid(pid)) {
		throw invalidArgument(`explain: the pid must be a whole number from 1 to 2147483647, not ${show(pid)}`);
	}
	if (chownTo !== undefined && as === undefined) {
		throw invalidArgument("explain: chownTo needs the IDs of a process", 'Name them: { as: "1000:1000" }.');
	}
	const target = chownTo === undefined ? undefined : checkChownTo(chownTo);
	const tried = `cannot explain ${show(path)}`;
	const view = pid === undefined ? undefined : await openView(tried, pid);
	const held: Descriptor[] = [];
	try {
		const ids =
			as === undefined
				? undefined
				: subjectOf(checkAs(as, view?.maps !== undefined), target, view, isInitial());
		const whole = normal(path, view);
		const files = await open(whole, view, tried, held);
		const entry = await runAsync(findMount(files.file, view?.mountNs?.fd, "ERR_USERNS_READ_MOUNTS", tried));
		const reported = mapOf(files.file, view?.mountNs?.fd);
		// Before Linux 6.8 no map is known, but the mount table says which mounts have one.
		const hasMap = entry === undefined || isIdmapped(entry);
		const mapping = typeof reported === "string" && !hasMap ? undefined : reported;
		const answer = await ask({
			...files,
			root: view?.root.fd,
			mountNs: view?.mountNs?.fd,
			namespace: ids === undefined ? undefined : view?.namespace?.fd,
			ids: ids === undefined || ids.isSelf ? undefined : { ...ids.subject, groups: ids.groups },
			kept: ids?.kept ?? (1n << 64n) - 1n,
			path: whole,
		});
		if (!isAnswer(answer)) throw askError(tried, answer);
		const mount = mountOf(entry, mapping);
		const foreign = answer.ofAll < 0 ? OF_NAMESPACES.test(mount.fsType) : answer.ofAll === 0;
		const chain = (kind: "uid" | "gid") =>
			follow({
				kind,
				shown: answer.file[kind],
				raw: answer.disk[kind],
				overflow: overflowId(kind),
				mount: mapping,
				mountName: `the mount at ${mount.mountPoint}`,
				namespace: view?.maps?.mapping,
				namespaceName: `the user namespace of process ${pid}`,
				foreign,
				own: ownExtents(kind) ?? [],
			});
		const [uid, gid] = [chain("uid"), chain("gid")];
		const explanation: Explanation = {
			path,
			mode: answer.file.mode,
			mount,
			namespace: view?.maps && { pid: view.pid, mapping: view.maps.mapping },
			uid,
			gid,
			access: undefined,
		};
		if (ids === undefined) return explanation;
		if (answer.search === 0 && !answer.same) throw changed(tried);
		const { subject } = ids;
		const fixed = fixedReason(whole, answer);
		const needed = needsTable(answer.fileSystem) && entry !== undefined;
		const table = needed
			? await runAsync(readMounts(view?.mountNs?.fd, "ERR_USERNS_READ_MOUNTS", tried))
			: [];
		const inTable = table.find(({ id }) => id === entry?.id);
		const superOptions = inTable === undefined ? [] : superOptionsOf(inTable);
		const situation = {
			path: whole,
			elsewhere: view?.elsewhere ?? false,
			answer,
			uid,
			gid,
			subject,
			mount: { ...mount, superOptions, layer: servedLayer(superOptions, table), mapping },
			foreign,
			fixed,
		};
		return { ...explanation, access: accessOf(situation) };
	} finally {
		for (const descriptor of held) descriptor.close();
		closeView(view);
	}
}

/** An absolute path without "." and empty names, because a file has no directory under the name ".". */
function normal(path: string, view: View | undefined): string {
	const absolute = path.startsWith("/") || view !== undefined ? path : `${process.cwd()}/${path}`;
	const names = absolute.split("/").filter((name) => name !== "" && name !== ".");
	return `/${names.join("/")}`;
}

/** Opens the file and its directory, each once. Their descriptors are added to `held`. */
async function open(
	path: string,
	view: View | undefined,
	tried: string,
	held: Descriptor[],
): Promise<{ file: number; directory: number }> {
	const run = async (operation: Operation<Outcome>) => {
		const outcome = await runAsync(operation);
		if (outcome.error < 0) throw lookUpError("ERR_USERNS_EXPLAIN", tried, outcome, {});
		held.push(new Descriptor(outcome.fd, "path"));
		return outcome;
	};
	const { mountNs, root } = view ?? {};
	const there = mountNs && root && { descriptor: mountNs, root };
	const options = ownCopy(root !== undefined && there === undefined ? { targetRoot: root.fd } : {});
	const { fd: directory, name = "" } = await run(lookUp(WALK_END.holder, path, options, there));
	if (name === "") return { file: directory, directory };
	const file = await run(one(nameIn(WALK_END.location, directory, name)));
	return { file: file.fd, directory };
}

function* one(call: NativeCall): Operation<Outcome> {
	return yield call;
}

function isAnswer(answer: Answer | { step: string; error: number }): answer is Answer {
	return !Object.hasOwn(answer, "step");
}

function mountOf(entry: MountEntry | undefined, mapping: Mapping | string | undefined): Explanation["mount"] {
	return {
		mountPoint: entry?.mountPoint ?? "outside this mount namespace",
		fsType: entry?.fsType ?? "unknown",
		options: entry?.options ?? [],
		idmapped: mapping !== undefined,
		mapping: typeof mapping === "object" ? mapping : undefined,
		unknown: typeof mapping === "string" ? mapping : undefined,
	};
}

function fixedReason(path: string, { file, directory }: Answer): string | undefined {
	if (path === "/") return "it is the root directory";
	if (path.endsWith("/..")) return "the path ends with ..";
	return file.mountId === directory.mountId ? undefined : "it is a mount point";
}

function isInitial(): boolean {
	const self = native().openProcess(process.pid);
	if (self.error < 0) return false;
	const user = native().namespaceOf(self.fd, CLONE_NEW.user);
	native().close(self.fd);
	if (user.error < 0) return false;
	const identity = native().identify(user.fd);
	native().close(user.fd);
	return typeof identity !== "number" && identity[1] === INITIAL;
}

const OWN_IDS =
	"Call explain() as root: without root, the IDs can only be the caller's own uid and gid, without groups.";

function askError(tried: string, outcome: { step: string; error: number }): UsernsError {
	const silent = outcome.error === ERRNO.ETIMEDOUT;
	const ids = outcome.error === ERRNO.EPERM && /^enter set(uid|gid|groups)$/.test(outcome.step);
	const hint = silent ? SILENT_PATH : ids ? OWN_IDS : undefined;
	return kernelError("ERR_USERNS_EXPLAIN", tried, outcome, { hint });
}

/** The error for a path that led to another file for the process. */
function changed(tried: string): UsernsError {
	return new UsernsError("ERR_USERNS_EXPLAIN", `${tried}: the path led to another file for the process`, {
		hint: "Try again if another process has changed the path meanwhile, and name a path that is not below /proc.",
		step: "looking the path up as the process",
	});
}
