import type { Command } from "commander";
import { type ListedNamespace, list, type Mapping } from "../index.ts";
import { holderText, INITIAL, processText } from "./ls-tree.ts";
import { openTarget } from "./namespace-argument.ts";
import { mappingLines, print, table, terminalWidth, wrap } from "./output.ts";

const HELP = `
Example:
  userns show 4711
shows the user namespace of process 4711.

A target of digits only is a pid, or the inode number of a namespace as "userns
ls" prints it. ":4711" is the namespace with the ID 4711. For a file with the
name 123, write ./123.

"inside" and "outside" are IDs in the namespace and in the caller's namespace.
If the parent is another one, the map to the parent's IDs follows. The mounts
are ID-mapped mounts with the same map. "not seen" says which holders the caller
or the kernel cannot see.`;

export function define(command: Command): void {
	command
		.argument("<target>", "a pid, a path such as /proc/PID/ns/user, or a number of a namespace")
		.option("--wide", "do not shorten lines to the width of the terminal")
		.option("--json", "print the result as JSON")
		.addHelpText("after", HELP)
		.action(show);
}

interface Options {
	wide?: boolean;
	json?: boolean;
}

/** The most processes, holders and mounts that are printed without --wide. */
const MOST = 4;

function several<T>(
	all: readonly T[],
	text: (each: T) => string,
	wide: boolean | undefined,
	none = "none",
): string {
	const most = wide ? all.length : MOST;
	const more = all.length > most ? [`${all.length - most} more`] : [];
	return all.length === 0 ? none : [...all.slice(0, most).map(text), ...more].join(", ");
}

/** The map to the IDs of the parent; undefined if it is not known, because an ID on the way is not mapped. */
function mapToParent(mapping: Mapping, parent: Mapping | undefined): Mapping | undefined {
	if (parent === undefined) return undefined;
	const map = mapping.compose(parent.invert());
	return map.size.uid === mapping.size.uid && map.size.gid === mapping.size.gid ? map : undefined;
}

async function show(target: string, { wide, json }: Options): Promise<void> {
	const namespace = await openTarget(target);
	try {
		const { inode, id } = namespace;
		const mapping = await namespace.mapping();
		const { namespaces, unseen } = await list();
		const byInode = new Map(namespaces.map((each) => [each.inode, each]));
		// This process holds it. The list lacks it all the same if the descriptor comes from a bind mount that the list may not open.
		const listed: Pick<ListedNamespace, "processes" | "holders" | "mounts" | "parentInode"> = byInode.get(
			inode,
		) ?? { processes: [], holders: [], mounts: [], parentInode: undefined };
		const parents: number[] = [];
		for (let up = listed.parentInode; up !== undefined; up = byInode.get(up)?.parentInode) parents.push(up);
		const [parentInode = null] = parents;
		const mappingInParent = mapToParent(mapping, byInode.get(parentInode ?? -1)?.mapping);
		const holders = listed.holders.filter((each) => each.kind !== "descriptor" || each.pid !== process.pid);
		const facts = {
			target,
			inode,
			id: id === undefined ? null : Number(id),
			parentInode,
			parents,
			ownerUid: namespace.ownerUid(),
			setgroups: await namespace.setgroups(),
			mapping,
			mappingInParent: mappingInParent ?? null,
			processes: listed.processes,
			holders,
			mounts: listed.mounts,
			unseen,
		};
		const isOutside = mappingInParent === undefined || mappingInParent.equals(mapping);
		const rows = () => [
			["inode", `${inode}`],
			["id", id === undefined ? "unknown before Linux 6.18" : `${id}`],
			["parent", parentText(inode, parents)],
			["owner", `uid ${facts.ownerUid}`],
			["setgroups", facts.setgroups],
			["processes", several(facts.processes, processText, wide)],
			[
				"held by",
				holders.length + facts.processes.length === 0
					? "unknown"
					: several(holders, holderText, wide, "its processes"),
			],
			["mounts", several([...new Set(listed.mounts.map(({ path }) => path))], String, wide)],
		];
		const width = (wide ? undefined : terminalWidth()) ?? Number.POSITIVE_INFINITY;
		await print(json, facts, () => [
			...table(rows(), width, [1]),
			...unseen.flatMap((each) => wrap(`not seen   ${each}`, width, "not seen   ".length)),
			...mappingLines(mapping, "inside", "outside"),
			...(isOutside ? [] : mappingLines(mappingInParent, "inside", "in the parent")),
		]);
	} finally {
		namespace.close();
	}
}

function parentText(inode: number, parents: readonly number[]): string {
	if (inode === INITIAL) return "none, because it is the initial user namespace";
	return parents.length === 0 ? "not visible" : `inode ${parents.join(", below ")}`;
}
