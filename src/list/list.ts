import { readFileSync, readlinkSync, statSync } from "node:fs";
import { invalidArgument, show, UsernsError } from "../errors.ts";
import { openByPid } from "../namespace/open.ts";
import { native } from "../native/addon.ts";
import { MOUNT_PROC } from "../native/process-status.ts";
import { copyOptions } from "../options.ts";
import { refuseDenied } from "../permission.ts";
import { type MappedMount, scanMountTables } from "./mount-tables.ts";
import { type ListedNamespace, Scan } from "./scan.ts";

/** Options of {@link list}. */
export interface ListOptions {
	/** Lists only the namespaces that this uid owns. */
	owner?: number | undefined;
	/** Lists only the namespace of this process, and its ancestors. */
	pid?: number | undefined;
}

/** The result of {@link list}. */
export interface NamespaceList {
	/** The namespaces, in ascending order of their inode numbers. */
	namespaces: ListedNamespace[];
	/** What the caller or the kernel cannot see, one sentence each. Empty if the list is complete. */
	unseen: string[];
}

/** PROC_PID_INIT_INO in include/linux/proc_ns.h: the inode number of the initial pid namespace. */
const INITIAL_PID_NAMESPACE = 0xeffffffc;

/**
 * Lists the user namespaces of the machine, with what holds each: those of the processes in /proc, of their descriptors and of the mount
 * tables, the parents of these, and those that listns(2) reports (Linux 6.19). A process that ends meanwhile is no error. Only root can
 * examine other users' processes; `unseen` says what is missing.
 */
export async function list(options?: ListOptions): Promise<NamespaceList> {
	const { owner, pid } = copyOptions<ListOptions>("list", options, ["owner", "pid"]);
	if (owner !== undefined && (!Number.isInteger(owner) || owner < 0 || owner > 0xffffffff)) {
		throw invalidArgument(`list: an owner must be a uid from 0 to 4294967295, not ${show(owner)}`);
	}
	checkProc();
	const opened = pid === undefined ? undefined : openByPid("list", pid)[0];
	const scan = new Scan(opened?.fd ?? -1);
	try {
		const start = opened && scan.add(native().copy(opened.fd)); // the process can end meanwhile
		const unseen = await scanAll(scan);
		const chain = opened && ancestors(scan, start);
		const namespaces = [...scan.found.values()]
			.filter((each) => owner === undefined || each.ownerUid === owner)
			.filter((each) => chain === undefined || chain.has(each))
			.sort((a, b) => a.inode - b.inode);
		return { namespaces, unseen };
	} finally {
		scan.close();
		opened?.close();
	}
}

function ancestors(scan: Scan, start: ListedNamespace | undefined): Set<ListedNamespace> {
	const chain = new Set<ListedNamespace>();
	for (let each = start; each !== undefined; each = scan.found.get(each.parentInode ?? -1)) chain.add(each);
	return chain;
}

/** The numbers in another pid namespace's /proc are those of other processes. */
function checkProc(): void {
	let self: string | undefined;
	try {
		self = readlinkSync("/proc/self");
	} catch (error) {
		refuseDenied(error, "/proc/self");
	}
	if (self === `${process.pid}`) return;
	throw new UsernsError(
		"ERR_USERNS_OPEN",
		"cannot list the user namespaces: /proc does not show this process",
		{
			hint: MOUNT_PROC,
			step: "reading /proc",
		},
	);
}

/** Returns what is not seen. */
async function scanAll(scan: Scan): Promise<string[]> {
	await scan.processes();
	const byId = listKernel(scan);
	const { mapped, unread, pinned } = await scanMountTables(scan);
	await scan.openedAt(pinned);
	await scan.parents();
	await scan.maps();
	addMounts(scan, mapped);
	const unseen: string[] = [];
	const say = (is: unknown, sentence: string) => is && unseen.push(sentence);
	say(scan.refused, `Processes that the caller may not examine: ${scan.refused}.`);
	say(hidesProcesses(), "Processes that the mount option hidepid of /proc hides.");
	say(inode("/proc/self/ns/pid") !== INITIAL_PID_NAMESPACE, "Processes outside of this pid namespace.");
	say(unread, `Mount namespaces whose tables cannot be read: ${unread}.`);
	for (const { pid, path, inode } of pinned) {
		const namespace = scan.found.get(inode);
		namespace?.holders.push({ kind: "mount", pid, path });
		say(!namespace, `The pinned namespace user:[${inode}] at ${path}, which cannot be opened.`);
	}
	say(byId !== undefined, byId ?? "");
	return unseen;
}

/** The namespaces that listns(2) reports. Returns what is missing of them. */
function listKernel(scan: Scan): string | undefined {
	const known = new Set([...scan.found.values()].map(({ id }) => id));
	let unopened = 0;
	for (let last = 0n; ; ) {
		const { error, bytes } = native().listNamespaces(last, PAGE);
		if (error < 0) return WITHOUT_LISTNS;
		const ids = new BigUint64Array(bytes ?? new ArrayBuffer(0));
		for (const id of ids) {
			if (known.has(id)) continue;
			const { error: refused, fd } = native().openId(id, 0);
			// A namespace that has ended meanwhile cannot be distinguished from one that the caller may not open.
			if (refused < 0 || scan.add(fd) === undefined) unopened++;
		}
		if (ids.length < PAGE) break;
		last = ids.at(-1) as bigint;
	}
	return unopened === 0
		? undefined
		: `Namespaces that listns(2) reports, but that cannot be opened: ${unopened}.`;
}

/** The most IDs of one call of listns(2). */
const PAGE = 1024;

const WITHOUT_LISTNS =
	"Namespaces that something else holds, such as a descriptor in a socket, before Linux 6.19.";

/** A mount keeps a copy of the map and not the namespace (Linux 6.8), so the maps are compared. */
function addMounts(scan: Scan, mapped: readonly MappedMount[]): void {
	const byMap = new Map<string, ListedNamespace[]>();
	for (const each of scan.found.values()) {
		const id = each.mapping?.id ?? "";
		const same = byMap.get(id);
		if (same === undefined) byMap.set(id, [each]);
		else same.push(each);
	}
	for (const { pid, path, map } of mapped) {
		for (const each of byMap.get(map) ?? []) each.mounts.push({ pid, path });
	}
}

function inode(path: string): number {
	return statSync(path).ino;
}

function hidesProcesses(): boolean {
	if (process.geteuid?.() === 0) return false;
	const table = readFileSync("/proc/self/mountinfo", "utf8");
	return / \/proc [^\n]* - proc [^\n]*\bhidepid=(?!0\b|off\b)/.test(table);
}
