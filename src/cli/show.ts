import type { Command } from "commander";
import { openTarget } from "./namespace-argument.ts";
import { mappingLines, print, table } from "./output.ts";

const HELP = `
Example:
  userns show 4711
shows the user namespace of process 4711.

A target of digits only is a pid. For a file with the name 123, write ./123.`;

export function define(command: Command): void {
	command
		.argument("<target>", "a pid, or a path such as /proc/PID/ns/user")
		.option("--json", "print the result as JSON")
		.addHelpText("after", HELP)
		.action((target: string, { json }: { json?: boolean }) => show(target, json));
}

/** PROC_USER_INIT_INO in include/linux/proc_ns.h: the inode number of the initial user namespace. */
const INITIAL = 0xeffffffd;

function parentText({ inode, parentInode }: { inode: number; parentInode: number | null }): string {
	if (inode === INITIAL) return "none, because it is the initial user namespace";
	return parentInode === null ? "not visible" : `inode ${parentInode}`;
}

async function show(target: string, json: boolean | undefined): Promise<void> {
	const namespace = await openTarget(target);
	try {
		const parent = namespace.parent();
		const facts = {
			target,
			inode: namespace.inode,
			id: namespace.id === undefined ? null : Number(namespace.id),
			parentInode: parent?.inode ?? null,
			ownerUid: namespace.ownerUid(),
			setgroups: await namespace.setgroups(),
			mapping: await namespace.mapping(),
		};
		parent?.close();
		await print(json, facts, () => [
			...table([
				["inode", `${facts.inode}`],
				["id", facts.id === null ? "unknown before Linux 6.18" : `${facts.id}`],
				["parent", parentText(facts)],
				["owner", `uid ${facts.ownerUid}`],
				["setgroups", facts.setgroups],
			]),
			...mappingLines(facts.mapping, "inside", "outside"),
		]);
	} finally {
		namespace.close();
	}
}
