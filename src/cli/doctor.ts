import { type Command, Option } from "commander";
import { type DoctorJob, type DoctorOptions, doctor, explainError, type FoundCause } from "../index.ts";
import { commandWords } from "./command-words.ts";
import { CommandError, NO, NO_ANSWER, print, STATUS_HELP, terminalWidth, wrap } from "./output.ts";
import { isTrying, tryDirectory } from "./try-directory.ts";

const HELP = `
Example:
  userns doctor
prints one line for each part of a job: "ok", "limited" (it works, and the line
says what does not) or "missing", then what to do, and the command for root that
fixes it. With a path, it says whether the path's mount can be ID-mapped.

Without --for, the exit status is about programs in a user namespace (spawn)
and, with a path, about the path's mount.
${STATUS_HELP}

The command changes nothing: it creates and drops a user namespace and a copy of
a mount that no other process sees. Only --try writes: it creates a directory
and a file in DIR, checks their owners, and removes them.

With --error, the command recognises an error of bwrap, unshare, newuidmap,
runc, crun or podman, and looks for its cause on this machine:
  bwrap … 2>&1 | userns doctor --error -
Run the command as the same user, in the same container and sandbox. The exit
status is 1 if a cause was found, and 0 if this process can do what the program
could not.`;

export function define(command: Command): void {
	command
		.argument("[path]", "a directory or file to be ID-mapped")
		.addOption(
			new Option("--for <job>", "check what this job needs").choices([
				"spawn",
				"rootless",
				"mount",
			] satisfies DoctorJob[]),
		)
		.option("--try <dir>", "create, read and remove a file through a map")
		.addOption(
			new Option(
				"--error <text>",
				'find the cause of this error of another program ("-": read it from standard input)',
			).conflicts(["for", "try"]),
		)
		.option("--json", "print the result as JSON")
		.addHelpText("after", HELP)
		.action(run);
}

export function statusOf(): number {
	return NO_ANSWER;
}

const LABELS: Readonly<Record<string, string>> = {
	namespaces: "user namespaces",
	programs: "programs inside",
	ids: "many IDs",
	mounts: "ID-mapped mounts",
	try: "files through a map",
};

type Options = Pick<DoctorOptions, "for"> & { try?: string; error?: string; json?: boolean };

interface Line {
	name: string;
	state: string;
	message: string;
	causes: readonly FoundCause[];
}

async function run(path: string | undefined, options: Options): Promise<void> {
	if (await isTrying()) return;
	const { for: job, try: folder, error, json } = options;
	if (error !== undefined) {
		if (path !== undefined) {
			throw new CommandError(
				"a path says nothing about --error",
				"Leave the path out.",
				"ERR_USERNS_INVALID_ARGUMENT",
			);
		}
		return runError(error === "-" ? await readInput() : error, json);
	}
	if (path !== undefined && job !== undefined && job !== "mount") {
		throw new CommandError(
			`a path says nothing about --for ${job}`,
			"Leave the path out, or use --for mount.",
			"ERR_USERNS_INVALID_ARGUMENT",
		);
	}
	const { ok, causes, checks } = await doctor({
		...(job !== undefined && { for: job }),
		...(path !== undefined && { path }),
	});
	const tried = folder === undefined ? [] : [await tryLine(folder)];
	const result = {
		ok: ok && isMappable(path, checks) && tried.every(({ state }) => state === "ok"),
		causes: [...causes, ...tried.flatMap((line) => line.causes)].map(inCommandWords),
		checks: [...checks, ...tried].map((line) => ({
			...line,
			message: commandWords(line.message),
			causes: line.causes.map(inCommandWords),
		})),
	};
	if (!result.ok) process.exitCode = NO;
	const width = terminalWidth() ?? Number.POSITIVE_INFINITY;
	await print(json, result, () => result.checks.flatMap((line) => lines(line, width)));
}

/** An error is at the end of what a program prints. */
const MOST_INPUT = 1_000_000;

/** Reads the last part of standard input. */
async function readInput(): Promise<string> {
	let text = "";
	for await (const piece of process.stdin.setEncoding("utf8")) text = `${text}${piece}`.slice(-MOST_INPUT);
	return text;
}

/** Prints the cause of another program's error. */
async function runError(text: string, json: boolean | undefined): Promise<void> {
	const found = await explainError(text);
	if (found === undefined) {
		throw new CommandError(
			"no line of the text is a known error of bwrap, unshare, newuidmap, runc, crun or podman",
			'Call "userns doctor" without --error, which checks everything.',
		);
	}
	const causes = found.causes.map(inCommandWords);
	const hint = commandWords(found.hint);
	const [first] = causes;
	if (first !== undefined) process.exitCode = NO;
	const { state, message } =
		first === undefined
			? { state: "ok", message: "this process can use them" }
			: { state: "missing", message: first.message };
	const width = terminalWidth() ?? Number.POSITIVE_INFINITY;
	await print(json, { ...found, causes, hint }, () => [
		found.line,
		...lines({ name: found.check, state, message, causes }, width),
		...(first === undefined ? wrap(`${" ".repeat(START)}${hint}`, width, START) : []),
	]);
}

/** A path is a question about its mount, also without --for. */
function isMappable(path: string | undefined, checks: readonly Line[]): boolean {
	return path === undefined || checks.every(({ name, state }) => name !== "mounts" || state !== "missing");
}

async function tryLine(folder: string): Promise<Line> {
	const cause = await tryDirectory(folder);
	return cause === undefined
		? { name: "try", state: "ok", message: `have the mapped owners in ${folder}`, causes: [] }
		: { name: "try", state: "missing", message: cause.message, causes: [cause] };
}

function inCommandWords(cause: FoundCause): FoundCause {
	const entries = Object.entries(cause).map(([key, text]) => [
		key,
		key === "command" ? text : commandWords(text),
	]);
	return Object.fromEntries(entries);
}

/** The column of the messages. */
const START = 9;

function lines({ name, state, message, causes }: Line, width: number): string[] {
	const indent = " ".repeat(START);
	const wrapped = (text: string) => wrap(text, width, START);
	return [
		...wrapped(`${state.padEnd(START)}${LABELS[name]}: ${message}`),
		...causes.flatMap((cause, index) => [
			...(index === 0 ? [] : wrapped(`${indent}${cause.message}`)),
			...wrapped(`${indent}fix: ${cause.fix}`),
			// A command is not wrapped, so that it can be copied.
			...(cause.command === undefined ? [] : [`${indent}# ${cause.command}`]),
		]),
	];
}
