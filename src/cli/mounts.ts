import type { Command } from "commander";
import { type MountInfo, mountsAsync } from "../index.ts";
import { wholeNumber } from "./namespace-argument.ts";
import { mappingRows, print, table } from "./output.ts";

interface Options {
	all?: boolean;
	pid?: number;
	json?: boolean;
}

export function define(command: Command): void {
	command
		.option("--all", "all mounts, not only the ID-mapped ones")
		.option("--pid <pid>", "those that this process sees (default: the own ones)", wholeNumber("a pid"))
		.option("--json", "print the result as JSON")
		.addHelpText(
			"after",
			`
A line for each mount and, where a map has several ranges, one for each of them:
the IDs on disk and the IDs that are visible, in the IDs of the caller. Maps are
told by Linux 6.15 and later; before that it says "map unknown on this kernel".`,
		)
		.action(list);
}

async function list({ all = false, pid, json }: Options): Promise<void> {
	const found = await mountsAsync({
		idmapped: !all,
		...(pid !== undefined && { pid }),
	});
	await print(json, found, () => (found.length === 0 ? [] : table([HEAD, ...found.flatMap(rows)])));
}

const HEAD = ["mount point", "type", "kind", "on disk", "visible", "IDs"];

function rows({ mountPoint, fsType, idmapped, mapping, unknown = "" }: MountInfo): string[][] {
	const place = [cell(mountPoint), cell(fsType)];
	if (!idmapped) return [[...place, "-"]];
	if (mapping === undefined) return [[...place, unknown]];
	return mappingRows(mapping).map((row, i) => [...(i === 0 ? place : ["", ""]), ...row]);
}

/** Escapes blanks as mountinfo does, because a blank looks like the end of the cell. The table escapes all else. */
function cell(name: string): string {
	return name.replace(/[ \\]/g, (sign) => `\\${sign.charCodeAt(0).toString(8).padStart(3, "0")}`);
}
