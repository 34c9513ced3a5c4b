import { readFileSync } from "node:fs";
import { UsernsError, type UsernsErrorCode } from "../errors.ts";
import { native } from "../native/load.ts";
import { kernelError } from "../native/steps.ts";

/** One line of /proc/self/mountinfo, as far as this package needs it. See proc_pid_mountinfo(5). */
export interface MountEntry {
	id: number;
	parent: number;
	device: string;
	root: string;
	mountPoint: string;
	/** Mount options, such as `ro`, `nosuid` and, since Linux 5.12, `idmapped`. */
	options: readonly string[];
	fsType: string;
	/** What was mounted, as the file system tells it. */
	source: string;
	/** It cannot be copied, and a tree is copied without it and what is below it. */
	unbindable: boolean;
}

/** The mounts of this process's mount namespace. `code` and `tried` are for the error when they cannot be read. */
export function readMountinfo(code: UsernsErrorCode, tried: string): MountEntry[] {
	return parseMountinfo(readTable("/proc/self/mountinfo", "/proc/self/mountinfo", code, tried));
}

/** The mounts of another mount namespace, as seen from its root. */
export function readMountinfoOf(mountNs: number, code: UsernsErrorCode, tried: string): MountEntry[] {
	const table = native().mountTable(mountNs);
	if (table.error < 0) throw kernelError(code, tried, table);
	try {
		return parseMountinfo(readTable(table.fd, "the mountinfo of the mount namespace", code, tried));
	} finally {
		native().close(table.fd);
	}
}

export function readTable(file: string | number, name: string, code: UsernsErrorCode, tried: string): string {
	try {
		return readFileSync(file, "utf8");
	} catch (cause) {
		const { errno, syscall, message } = cause as NodeJS.ErrnoException;
		throw new UsernsError(code, `${tried}: ${name} cannot be read: ${message}`, {
			hint: "A procfs at /proc and a free descriptor are needed; nothing was changed.",
			errno,
			syscall,
			step: `reading ${name}`,
			cause,
		});
	}
}

export function parseMountinfo(text: string): MountEntry[] {
	const entries: MountEntry[] = [];
	for (const line of text.split("\n")) {
		// Anything else is the rest of a line whose file system has put a newline in its options: no mount.
		if (!/^\d{1,10} \d{1,10} /.test(line)) continue;
		const [id, parent, device = "", root = "", mountPoint = "", options = "", ...rest] = line.split(" ");
		// Any number of optional fields stand before the lone "-".
		const end = rest.indexOf("-");
		entries.push({
			id: Number(id),
			parent: Number(parent),
			device,
			root: unescapeOctal(root),
			mountPoint: unescapeOctal(mountPoint),
			options: options.split(","),
			fsType: unescapeOctal(rest[end + 1] ?? ""),
			source: unescapeOctal(rest[end + 2] ?? ""),
			unbindable: rest.slice(0, end).includes("unbindable"),
		});
	}
	return entries;
}

/** The kernel writes blank, tab, newline and backslash as three octal digits (`mangle` in fs/proc_namespace.c). */
function unescapeOctal(text: string): string {
	return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
		String.fromCharCode(Number.parseInt(digits, 8)),
	);
}

/**
 * Where each overlay of this mount namespace is, and the upper layer and work directory as its mount options name them. The
 * kernel writes a comma within such a path as three octal digits (`seq_show_option` in fs/seq_file.h).
 */
export function overlayLayers(
	text: string = readTable(
		"/proc/self/mountinfo",
		"/proc/self/mountinfo",
		"ERR_USERNS_MOUNT",
		"cannot name the overlay",
	),
): { mountPoint: string; paths: string[] }[] {
	return text.split("\n").flatMap((line) => {
		const [, fields = "", options] = /^(.*) - overlay \S* (.*)$/.exec(line) ?? [];
		if (options === undefined) return [];
		const paths = options
			.split(",")
			.flatMap((option) => /^(?:upper|work)dir=(.*)$/.exec(option)?.[1] ?? [])
			.map(unescapeOctal);
		return paths.length === 0 ? [] : [{ mountPoint: unescapeOctal(fields.split(" ")[4] ?? ""), paths }];
	});
}

/** The mounts on each mount, by its number, in the order of the table. */
export function childrenOf(entries: readonly MountEntry[]): Map<number, MountEntry[]> {
	const children = new Map<number, MountEntry[]>();
	for (const entry of entries) {
		const list = children.get(entry.parent);
		if (list === undefined) children.set(entry.parent, [entry]);
		else list.push(entry);
	}
	return children;
}

/**
 * Every mount below `id`, at any depth, parents first. A child can stand before its parent in the table after a move. Each
 * is looked at once: the table can be a container's, and it may have 100,000 mounts in any order.
 */
export function descendants(
	entries: readonly MountEntry[],
	id: number,
	children: ReadonlyMap<number, readonly MountEntry[]> = childrenOf(entries),
): MountEntry[] {
	const below: MountEntry[] = [];
	const seen = new Set([id]);
	const take = (parent: number) => {
		for (const entry of children.get(parent) ?? []) {
			if (seen.has(entry.id)) continue;
			seen.add(entry.id);
			below.push(entry);
		}
	};
	take(id);
	for (let i = 0; i < below.length; i++) take((below[i] as MountEntry).id); // it grows meanwhile
	return below;
}
