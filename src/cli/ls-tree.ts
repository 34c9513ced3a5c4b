import { readFileSync } from "node:fs";
import type { ListedNamespace, Mapping, NamespaceHolder } from "../index.ts";

/** PROC_USER_INIT_INO in include/linux/proc_ns.h: the inode number of the initial user namespace. */
export const INITIAL = 0xeffffffd;

/** A namespace in the tree: the signs that lead to it, and its depth. */
export interface Branch {
	namespace: ListedNamespace;
	signs: string;
	depth: number;
}

/** The namespaces in the order of a tree. One whose parent is not among them is at the left. */
export function branches(namespaces: readonly ListedNamespace[]): Branch[] {
	const inodes = new Set(namespaces.map(({ inode }) => inode));
	const below = new Map<number | undefined, ListedNamespace[]>();
	for (const each of namespaces) {
		const parent = inodes.has(each.parentInode ?? -1) ? each.parentInode : undefined;
		const siblings = below.get(parent);
		if (siblings === undefined) below.set(parent, [each]);
		else siblings.push(each);
	}
	const all: Branch[] = [];
	const add = (parent: number | undefined, indent: string, depth: number) => {
		const children = below.get(parent) ?? [];
		for (const [i, namespace] of children.entries()) {
			const isLast = i === children.length - 1;
			const signs = depth === 0 ? "" : `${indent}${isLast ? "└─" : "├─"}`;
			all.push({ namespace, signs, depth });
			add(namespace.inode, depth === 0 ? "" : `${indent}${isLast ? "  " : "│ "}`, depth + 1);
		}
	};
	add(undefined, "", 0); // at most 32 deep: the kernel's limit
	return all;
}

/** A mapping in short: its first extent, and the number of others. */
export function shortMap({ mapping, unknown }: Pick<ListedNamespace, "mapping" | "unknown">): string {
	if (mapping === undefined) return unknown === undefined ? "-" : "unknown";
	if (isAll(mapping)) return "all IDs";
	const [first = "", ...others] = mapping.id.split(",");
	if (first === "") return "none";
	return others.length === 0 ? first : `${first} +${others.length}`;
}

function isAll(mapping: Mapping): boolean {
	return mapping.isIdentity && mapping.size.uid === 0xffffffff;
}

/** The kernel's name of a process. Never the command line, whose reading the process can delay. */
export function nameOf(pid: number): string {
	try {
		return readFileSync(`/proc/${pid}/comm`, "utf8").replace(/\n$/, "");
	} catch {
		return ""; // it has ended
	}
}

export function processText(pid: number): string {
	return `${pid} ${nameOf(pid)}`.trimEnd();
}

export function holderText(holder: NamespaceHolder): string {
	if (holder.kind === "mount") return `mount ${holder.path}`;
	if (holder.kind === "child") return `child ${holder.inode}`;
	if (holder.kind === "namespace") return `namespace ${holder.name}`;
	return `descriptor ${holder.fd} of ${processText(holder.pid)}`;
}

/** What holds a namespace, in short: the first holder, and the number of others. */
export function heldBy({ processes, holders }: ListedNamespace): string {
	const order = ["mount", "descriptor", "namespace", "child"];
	const [first] = [...holders].sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
	const [pid] = processes;
	const others = processes.length + holders.length - 1;
	if (others < 0) return "unknown";
	const text = pid === undefined ? holderText(first as NamespaceHolder) : `process ${processText(pid)}`;
	return others === 0 ? text : `${text} +${others}`;
}

/** A namespace in the form of JSON, which has no bigint. */
export function jsonOf(namespace: ListedNamespace): object {
	const { id, parentInode, mapping, setgroups, ...others } = namespace;
	return {
		...others,
		id: id === undefined ? null : Number(id),
		parentInode: parentInode ?? null,
		setgroups: setgroups ?? null,
		mapping: mapping ?? null,
	};
}
