import { type Command, InvalidArgumentError, Option } from "commander";
import { list } from "../index.ts";
import { drawTree } from "./ls-svg.ts";
import { type Branch, branches, heldBy, jsonOf, nameOf, shortMap } from "./ls-tree.ts";
import { wholeNumber } from "./namespace-argument.ts";
import { print, printable, printDrawing, printErrors, table, terminalWidth, wrap } from "./output.ts";

/** The cell of each column. */
const COLUMNS: Readonly<Record<string, (branch: Branch) => string>> = {
	namespace: ({ signs, namespace }) => `${signs}${namespace.inode}`,
	id: ({ namespace: { id } }) => (id === undefined ? "-" : `${id}`),
	parent: ({ namespace: { parentInode } }) => (parentInode === undefined ? "-" : `${parentInode}`),
	owner: ({ namespace }) => `${namespace.ownerUid}`,
	setgroups: ({ namespace }) => namespace.setgroups ?? "-",
	processes: ({ namespace }) => `${namespace.processes.length}`,
	pid: ({ namespace }) => `${namespace.processes[0] ?? "-"}`,
	command: ({ namespace: { processes } }) => (processes[0] === undefined ? "-" : nameOf(processes[0])),
	map: ({ namespace }) => shortMap(namespace),
	mounts: ({ namespace }) => `${namespace.mounts.length}`,
	holder: ({ namespace }) => heldBy(namespace),
};

export const columnNames: readonly string[] = Object.keys(COLUMNS);
const USUAL = ["namespace", "owner", "processes", "map", "holder"];
/** The columns that are shortened if a line is too long, in this order. */
const FLEXIBLE = ["holder", "map", "namespace"];

interface Options {
	columns?: string[];
	owner?: number;
	pid?: number;
	wide?: boolean;
	svg?: string;
	json?: boolean;
}

const HELP = `
Example:
  userns ls --pid 4711
shows the user namespace of process 4711 below its ancestors.

The columns are: ${columnNames.slice(0, 6).join(", ")},
${columnNames.slice(6).join(", ")}. A namespace is named by its inode
number. Its map is shown in IDs of the caller's user namespace: the first extent
and the number of others.

The holder is what keeps the namespace in existence: a process, a mount on a
file, a descriptor, a namespace of another kind that it owns, or a child
namespace; "+2" stands for two others. If nothing of that kind was found, the
holder is unknown. "userns show" prints all of them. What the caller or the
kernel cannot see is printed on standard error.

On a terminal, a line that is too long is shortened with "…".`;

function parseColumns(text: string): string[] {
	const names = text.split(",");
	if (names.every((name) => Object.hasOwn(COLUMNS, name))) return names;
	throw new InvalidArgumentError(`The columns are ${columnNames.join(", ")}.`);
}

export function define(command: Command): void {
	command
		.option("-o, --columns <names>", "print these columns, separated by commas", parseColumns)
		.option("--owner <uid>", "list the namespaces that this uid owns", wholeNumber("A uid"))
		.option("--pid <pid>", "list the namespace of this process, and its ancestors", wholeNumber("A pid"))
		.option("--wide", "do not shorten lines to the width of the terminal")
		.addOption(new Option("--svg <file>", "write an SVG file; - for standard output"))
		.option("--json", "print the result as JSON")
		.addHelpText("after", HELP)
		.action((options: Options) => show(command, options));
}

async function show(command: Command, options: Options): Promise<void> {
	const { columns = USUAL, owner, pid, wide, svg, json } = options;
	if (json && svg === "-") command.error("error: --json and --svg - both print the result");
	const { namespaces, unseen } = await list({
		...(owner !== undefined && { owner }),
		...(pid !== undefined && { pid }),
	});
	const tree = branches(namespaces);
	const value = { namespaces: tree.map(({ namespace }) => jsonOf(namespace)), unseen };
	if (svg !== undefined) return printDrawing(svg, drawTree(tree, unseen), json, { svg, ...value });
	const most = wide ? undefined : terminalWidth();
	if (!json) {
		const none = namespaces.length === 0 ? ["no user namespaces"] : [];
		const lines = [...none, ...unseen.map((each) => `not seen: ${each}`)];
		const wrapped = lines.flatMap((line) => wrap(printable(line), most ?? Number.POSITIVE_INFINITY, 2));
		await printErrors(wrapped.map((line) => `${line}\n`).join(""));
	}
	const flexible = FLEXIBLE.map((name) => columns.indexOf(name)).filter((index) => index >= 0);
	const rows = () => tree.map((branch) => columns.map((name) => COLUMNS[name]?.(branch) ?? ""));
	await print(json, value, () => (tree.length === 0 ? [] : table([columns, ...rows()], most, flexible)));
}
