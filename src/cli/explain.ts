import type { Command } from "commander";
import { type Access, type ExplainOptions, type Explanation, explain, type OwnerChain } from "../index.ts";
import { drawExplanation } from "./explain-svg.ts";
import { wholeNumber } from "./namespace-argument.ts";
import { print, printDrawing, shortened, table, terminalWidth, wrap } from "./output.ts";

interface Options extends Pick<ExplainOptions, "in" | "chownTo"> {
	as?: string;
	svg?: string;
	wide?: boolean;
	json?: boolean;
}

const HELP = `
Example:
  userns explain --in 4711 --as 1000:1000 /data/file
shows the owner that process 4711 sees for /data/file, a path below the root
directory of that process, and what uid 1000 may do with the file there.

A file has an owner on disk. The map of the mount turns that ID into the visible
owner. The user namespace of a process turns the visible owner into an ID
inside, which stat(2) returns.
An owner that one of the two does not map is shown as 65534 (nobody). "real"
says whether 65534 is the owner's own ID.

IDS is USER[:GROUP][,GROUPS]. The IDs are those of the user namespace of the
process. Without --in, USER can be a name, and the user's groups are then the
default. Uid 0 has the capabilities that root has there; another uid has none.

The command changes nothing: the kernel is asked in a process with these IDs.
"create" is for a directory, and "delete" for the file that the path leads to.
"chown" is answered for --chown-to UID[:GID], by default for the IDs of --as.
Without root, --as can only be the caller's own uid and gid, without groups.
If root of the host can allow a refused operation, the command is below it. Each
command is for that operation alone. There is none for the files of a process in
another mount namespace.
With --in, a path in it is a path that the process sees, not a path of the host.`;

export function define(command: Command): void {
	command
		.argument("<path>", "a file or directory")
		.option("--in <pid>", "as this process sees it", wholeNumber("A pid"))
		.option("--as <ids>", "what a process with these IDs may do")
		.option("--chown-to <ids>", "the new owner and group for chown, with --as")
		.option("--svg <file>", "write the chain as an SVG file; - for standard output")
		.option("--wide", "do not wrap lines")
		.option("--json", "print the result as JSON")
		.addHelpText("after", HELP)
		.action((path: string, options: Options) => show(command, path, options));
}

async function show(command: Command, path: string, options: Options): Promise<void> {
	const { in: pid, as, chownTo, svg, wide, json } = options;
	if (json && svg === "-") command.error("error: --json and --svg - both print the result");
	const found = await explain(path, {
		...(pid !== undefined && { in: pid }),
		...(as !== undefined && { as }),
		...(chownTo !== undefined && { chownTo }),
	});
	if (svg !== undefined) return printDrawing(svg, drawExplanation(found), json, { svg, ...found });
	const width = wide ? Number.POSITIVE_INFINITY : (terminalWidth() ?? 80);
	await print(json, found, () => lines(found, as, width));
}

const KINDS = ["uid", "gid"] as const;

function lines(found: Explanation, as: string | undefined, width: number): string[] {
	const { mount, namespace, access } = found;
	const { mountPoint, fsType, mapping, unknown } = mount;
	const map = mapping === undefined ? (unknown ?? "none") : shortened(`${mapping}`, 4 * width);
	return [
		...table([
			["path", cut(found.path, width)],
			["mode", (found.mode & 0o7777).toString(8).padStart(4, "0")],
			["mount", `${cut(mountPoint, width)} (${fsType})`],
		]),
		...wrap(`map    ${map}`, width, 7),
		...(namespace === undefined ? [] : [`inside user namespace of process ${namespace.pid}`]),
		"",
		...table([
			["", "on disk", "visible", "inside", "stat", "real"],
			...KINDS.map((kind) => row(kind, found[kind])),
		]),
		...KINDS.flatMap((kind) => {
			const { lost } = found[kind];
			return lost === undefined ? [] : ["", ...wrap(`${kind}: ${lost.reason}`, width, 5)];
		}),
		...(access === undefined ? [] : ["", `as ${as}`, ...verdicts(access, width)]),
	];
}

/** The start and the end of a long name. */
function cut(name: string, width: number): string {
	return shortened(name, width - 22);
}

function row(kind: string, { disk, visible, inside, stat, real }: OwnerChain): string[] {
	const id = (value: number | undefined) => (value === undefined ? "-" : `${value}`);
	return [kind, id(disk), id(visible), id(inside), `${stat}`, real === undefined ? "" : real ? "yes" : "no"];
}

/** The column of the reasons. */
const START = 24;

function verdicts(access: Access, width: number): string[] {
	return Object.entries(access).flatMap(([operation, { allowed, errno = "", reason, fix }]) => {
		const answer = allowed === null ? "unknown" : allowed ? "yes" : "no";
		const start = `  ${operation.padEnd(8)} ${`${answer} ${errno}`.padEnd(START - 12)} `;
		// A command is not wrapped, so that it can be copied.
		return [
			...wrap(start + reason, width, START),
			...(fix === undefined ? [] : [`${" ".repeat(START)}${fix}`]),
		];
	});
}
