import { type Command, Option } from "commander";
import { type MountInfo, mountsAsync } from "../index.ts";
import { wholeNumber } from "./namespace-argument.ts";
import { mappingRows, print, printErrors, table, terminalWidth } from "./output.ts";

interface Options {
	all?: boolean;
	wide?: boolean;
	pinned?: boolean;
	pid?: number;
	json?: boolean;
}

const HELP = `
Example:
  userns mounts --pid 4711
lists the ID-mapped mounts that process 4711 sees.

With --pinned, the command lists the paths at which user namespaces are pinned,
for example by "userns create". "userns show PATH" prints the map of one.

The columns "on disk" and "visible" show IDs of the caller's user namespace. A
map has one line for each of its extents. Before Linux 6.15 the kernel does not
report maps. For a map that cannot be read, the command prints "map unknown" and
the reason.

On a terminal, a mount point that is too long is shortened in the middle, with
"…". In a pipe, in a file and with --json it is whole.`;

export function define(command: Command): void {
	command
		.option("--all", "list all mounts, not only ID-mapped ones")
		.addOption(new Option("--pinned", "list pinned user namespaces instead").conflicts("all"))
		.option("--pid <pid>", "list the mounts of this process (default: the caller)", wholeNumber("A pid"))
		.option("--wide", "do not shorten mount points to the width of the terminal")
		.option("--json", "print the result as JSON")
		.addHelpText("after", HELP)
		.action(list);
}

async function list({ all = false, pinned = false, wide, pid, json }: Options): Promise<void> {
	const most = wide ? undefined : terminalWidth();
	if (pinned) return listPinned(pid, json, most);
	const found = await mountsAsync({
		idmapped: !all,
		...(pid !== undefined && { pid }),
	});
	if (found.length === 0 && !json) await printErrors(`no ${all ? "" : "ID-mapped "}mounts\n`);
	await print(json, found, () => (found.length === 0 ? [] : table([HEAD, ...found.flatMap(rows)], most)));
}

/** The kernel names a namespace that is mounted on a file by its inode: "user:[4026532000]". */
async function listPinned(
	pid: number | undefined,
	json: boolean | undefined,
	most: number | undefined,
): Promise<void> {
	const all = await mountsAsync(pid === undefined ? {} : { pid });
	const found = all.flatMap(({ mountPoint, fsType, root }) => {
		const inode = fsType === "nsfs" ? /^user:\[(\d+)\]$/.exec(root)?.[1] : undefined;
		return inode === undefined ? [] : [{ path: mountPoint, inode: Number(inode) }];
	});
	if (found.length === 0 && !json) await printErrors("no pinned user namespaces\n");
	const lines = () => found.map(({ path, inode }) => [cell(path), `${inode}`]);
	await print(json, found, () => (found.length === 0 ? [] : table([["path", "inode"], ...lines()], most)));
}

const HEAD = ["mount point", "type", "kind", "on disk", "visible", "IDs"];

function rows({ mountPoint, fsType, idmapped, mapping, unknown = "" }: MountInfo): string[][] {
	const mount = [cell(mountPoint), cell(fsType)];
	if (!idmapped) return [[...mount, "-"]];
	if (mapping === undefined) return [[...mount, unknown]];
	return mappingRows(mapping).map((row, i) => [...(i === 0 ? mount : ["", ""]), ...row]);
}

/** Escapes blanks as mountinfo does, because a blank looks like the end of the cell. table() escapes everything else. */
function cell(name: string): string {
	return name.replace(/[ \\]/g, (sign) => `\\${sign.charCodeAt(0).toString(8).padStart(3, "0")}`);
}
