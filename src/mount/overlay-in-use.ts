import { UsernsError } from "../errors.ts";
import { ownMapsAll } from "../namespace/caller-map.ts";
import { native } from "../native/addon.ts";
import { Descriptor } from "../native/descriptor.ts";
import { ERRNO } from "../native/errno.ts";
import { kernelError } from "../native/steps.ts";
import type { HeldMount } from "./idmapped-mount.ts";
import { type Location, showLocation } from "./location.ts";
import { superOptionsOf } from "./mount-entry.ts";
import { type MountEntry, readIn } from "./mountinfo.ts";

/** The upper layer and the work directory, as given and as descriptors. */
export interface WrittenLayers {
	upper: { given: Location; fd: number };
	work: { given: Location; fd: number };
}

/**
 * The overlays of this process, by the device and inode of their upper layer and work directory. The kernel does not
 * name a detached overlay anywhere.
 */
const users = new Map<string, WeakRef<HeldMount>>();
/** The layers of overlays that are being created. */
const creating = new Set<string>();
const collected = new FinalizationRegistry<readonly string[]>((keys) => {
	for (const key of keys) if (users.get(key)?.deref() === undefined) users.delete(key);
});

/** Undefined for a descriptor on which statx(2) fails. */
function keyOf(fd: number): string | undefined {
	const identity = native().identify(fd);
	return typeof identity === "number" ? undefined : identity.join(":");
}

/**
 * Reserves the layers of an overlay that is being created, so that a second call with the same layers fails, whatever the
 * kernel would do.
 */
export class Claim {
	readonly #keys: readonly string[];

	/** Throws if another call in this process has reserved one of the layers. */
	constructor(layers: WrittenLayers, tried: string) {
		const named = entries(layers).map(([name, { fd }]) => ({ name, key: keyOf(fd) }));
		for (const { name, key } of named) {
			if (key !== undefined && creating.has(key)) {
				const user = "an overlay that this process is creating";
				throw inUse(tried, layerWords(name, layers), user);
			}
		}
		this.#keys = named.flatMap(({ key }) => (key === undefined ? [] : [key]));
		for (const key of this.#keys) creating.add(key);
	}

	/** Records the overlay that was created, so that errors can name it from now on. */
	keep(mount: HeldMount): void {
		for (const key of this.#keys) users.set(key, new WeakRef(mount));
		collected.register(mount, this.#keys);
	}

	release(): void {
		for (const key of this.#keys) creating.delete(key);
	}
}

const WORDS = { upper: "the upper layer", work: "the work directory" } as const;

function entries(layers: WrittenLayers): [keyof WrittenLayers, WrittenLayers["upper"]][] {
	return [
		["upper", layers.upper],
		["work", layers.work],
	];
}

/**
 * Throws if one of the layers is, or lies in, the upper layer or work directory of another overlay, because the kernel
 * alone would accept it and only log that the behaviour is undefined. Between this check and the mount, another process
 * can still take the layer. `roots` are detached mounts that the layers are on; the check consumes them.
 */
export async function refuseInUse(
	layers: WrittenLayers,
	roots: readonly number[],
	tried: string,
): Promise<void> {
	const either = await isInUse([layers.upper.fd, layers.work.fd], roots, tried);
	if (either === false) return;
	for (const [name, { fd }] of entries(layers)) {
		const user = await nameOfUser(fd);
		if (user !== undefined) throw inUse(tried, layerWords(name, layers), user);
	}
	if (either) {
		throw inUse(tried, `${layerWords("upper", layers)} or ${layerWords("work", layers)}`, undefined);
	}
}

/**
 * Whether the kernel reports the layers as in use. Undefined if it cannot: in a user namespace the kernel mounts
 * without the index that the check needs, and before Linux 6.15 the layers must be in a mount namespace (`roots`).
 */
async function isInUse(
	fds: readonly number[],
	roots: readonly number[],
	tried: string,
): Promise<boolean | undefined> {
	if (!ownMapsAll()) return undefined;
	const { error } = await native().overlay(fds, -1, -1, 0, 0, roots, true, false, 0, 0);
	if (error === ERRNO.EBUSY) return true;
	// A shortage must fail the call, because it may be over when the overlay itself is created without the check.
	if (error === ERRNO.EMFILE || error === ERRNO.ENFILE || error === ERRNO.ENOMEM) {
		throw kernelError("ERR_USERNS_MOUNT", tried, { error, step: "overlay in use" });
	}
	return error === 0 ? false : undefined;
}

function layerWords(name: keyof WrittenLayers, layers: WrittenLayers): string {
	return `${WORDS[name]} ${showLocation(layers[name].given)}`;
}

function inUse(tried: string, layer: string, user: string | undefined): UsernsError {
	const by =
		user ?? "another overlay, which is detached, in another mount namespace, or not named by the kernel";
	return new UsernsError("ERR_USERNS_MOUNT", `${tried}: ${layer} is in use by ${by}`, {
		hint:
			user === undefined
				? "Unmount it (grep -l overlay /proc/*/mountinfo finds it), or use another upper layer and work directory."
				: "Unmount that overlay first, or use another upper layer and work directory.",
		errno: ERRNO.EBUSY,
		syscall: "fsconfig",
		step: "checking whether the layers are in use",
	});
}

/** Describes the overlay that uses the layer or a directory above it. */
async function nameOfUser(fd: number): Promise<string | undefined> {
	const keys = await ancestors(fd);
	for (const key of keys) {
		const mount = users.get(key)?.deref();
		if (mount === undefined || mount.closed) continue;
		if (mount.target === undefined) return "a detached overlay of this process";
		return `the overlay of this process at ${showLocation(mount.target)}`;
	}
	for (const { mountPoint, paths } of overlayLayers()) {
		for (const path of paths) {
			// A relative path or /proc/self of another process would resolve to this process's own.
			if (!path.startsWith("/") || path.startsWith("/proc/")) continue;
			// An option of mount(2) keeps its backslashes (ovl_unescape() in fs/overlayfs); a descriptor's path has none.
			for (const each of new Set([path, path.replaceAll(/\\(.)/g, "$1")])) {
				const key = await keyAt(-1, each);
				if (key !== undefined && keys.has(key)) return `the overlay at ${showLocation(mountPoint)}`;
			}
		}
	}
	return undefined;
}

/** The layer itself and every directory above it. */
async function ancestors(fd: number): Promise<Set<string>> {
	const keys = new Set<string>();
	const held: Descriptor[] = [];
	try {
		for (let at = fd; ; ) {
			const key = keyOf(at);
			if (key === undefined || keys.has(key)) return keys;
			keys.add(key);
			const above = await native().openLocation(at, "..", 0, -1, false);
			if (above.error < 0) return keys;
			const descriptor = new Descriptor(above.fd, "layer");
			held.push(descriptor);
			at = descriptor.fd;
		}
	} finally {
		for (const descriptor of held) descriptor.close();
	}
}

async function keyAt(directory: number, path: string): Promise<string | undefined> {
	const outcome = await native().openLocation(directory, path, 0, -1, false);
	if (outcome.error < 0) return undefined;
	try {
		return keyOf(outcome.fd);
	} finally {
		native().close(outcome.fd);
	}
}

/**
 * The mount point of each overlay of this mount namespace, with the upper layer and work directory from its mount
 * options. The kernel writes a comma within such a path as three octal digits (`seq_show_option` in fs/seq_file.h).
 */
export function overlayLayers(
	entries: Iterable<MountEntry> = readIn(undefined, "ERR_USERNS_MOUNT", "cannot name the overlay"),
): { mountPoint: string; paths: string[] }[] {
	const found: { mountPoint: string; paths: string[] }[] = [];
	for (const entry of entries) {
		if (entry.fsType !== "overlay") continue;
		const paths = superOptionsOf(entry).flatMap(
			(option) => /^(?:upper|work)dir=(.*)$/s.exec(option)?.[1] ?? [],
		);
		if (paths.length > 0) found.push({ mountPoint: entry.mountPoint, paths });
	}
	return found;
}
