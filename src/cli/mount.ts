import { type Command, Option } from "commander";
import { type MountIdmappedOptions, mountIdmapped } from "../index.ts";
import { commandWords } from "./command-words.ts";
import { MOUNT_MAP_HELP, readMountMap } from "./map-argument.ts";
import { containerOf, openTarget, pidOrPath } from "./namespace-argument.ts";
import { mappingLines, print, printable, printErrors } from "./output.ts";
import { readOwner } from "./owner-argument.ts";

type Attributes = "nosuid" | "nodev" | "noexec" | "nosymfollow" | "nodiratime" | "atime" | "propagation";

/** The options of every command that makes a mount: where, and with which attributes. */
export interface TargetFlags
	extends Pick<MountIdmappedOptions, Attributes | "replace" | "targetRoot" | "resolve"> {
	readOnly?: boolean;
	into?: string;
}

interface Options
	extends TargetFlags,
		Pick<MountIdmappedOptions, "recursive" | "skipUnsupported" | "unmap" | "nested" | "others"> {
	from?: string;
	map?: string;
	owner?: string;
	userns?: string;
	mapRootOnly?: boolean;
	json?: boolean;
}

const HELP = `
Example:
  userns mount --map 0:2100000000:65536 --read-only /srv/data /mnt/data
shows the files that root owns in /srv/data as owned by uid 2100000000 in
/mnt/data. Nothing on disk changes. "userns umount /mnt/data" unmounts it.
A mount that was made with --recursive needs "userns umount --recursive".
"userns umount" knows one that was made with --unmap by a record in /run/userns,
which is written for root only.
${MOUNT_MAP_HELP}
With --into, MAP can also be "container": the map of the container.

--owner USER[:GROUP] needs no map: the files of the source's owner are visible
as that user and group. Both are names of this machine or numbers. Without
GROUP, the user's own group is used. With --into, both are numbers of the
container: 0:0 is its root. All other files belong to nobody, and no other
user, root included, can create files. With --others keep, other users have
their own files, and can create files as on disk.

If the source is already ID-mapped, --nested selects the meaning of containerID:
with compose (the default) it is the ID visible through the source, with replace
the ID on disk. Both need Linux 6.15. With refuse, the command fails.

--into attaches the mount in the mount namespace of a container. The target is
looked up below the container's root directory. The mount stays until it is
unmounted with "userns umount --into …", or until the container ends.

--from looks the source up in the mount namespace of a container, below the
container's root directory. The container decides what is there: use --nosuid
and --nodev too, or leave the files to the container's own IDs.

Use --target-root or --into if another user can change the directories on the
path of the target: then neither symbolic links nor ".." lead out of the root.`;

export function define(command: Command): void {
	command
		.argument("<source>", "the directory or file to mount")
		.argument("<target>", "the mount point; it must exist")
		.option("--map <map>", "map IDs on disk to visible IDs; see below")
		.addOption(
			new Option("--owner <owner>", "show the source's owner as this user; see below").conflicts("map"),
		)
		.addOption(word("--others <how>", "with --owner: what happens to other IDs", ["keep", "unmapped"]))
		.addOption(
			new Option("--userns <pid|path>", "use the map of this user namespace").conflicts(["map", "owner"]),
		)
		.addOption(
			new Option("--unmap", "mount an ID-mapped source without its map (Linux 6.15)").conflicts([
				"map",
				"owner",
				"userns",
			]),
		)
		.addOption(
			word("--nested <how>", "how to treat an ID-mapped source; see below", ["compose", "replace", "refuse"]),
		)
		.option("--from <pid|path>", "the source is in a container: its pid or /proc/PID/ns/mnt")
		.option("--recursive", "include the mounts below the source, ID-mapped too")
		.option("--map-root-only", "with --recursive: do not map the mounts below")
		.addOption(
			new Option(
				"--skip-unsupported",
				"with --recursive: do not map what cannot be ID-mapped (Linux 6.15)",
			).conflicts("mapRootOnly"),
		);
	addTargetOptions(command)
		.option("--json", "print the result as JSON")
		.addHelpText("after", HELP)
		.action((source: string, target: string, options: Options) => mount(command, source, target, options));
}

/** Adds the options of {@link TargetFlags}. */
export function addTargetOptions(command: Command): Command {
	return command
		.addOption(new Option("--into <pid|path>", "mount in a container: its pid or /proc/PID/ns/mnt"))
		.addOption(new Option("--target-root <dir>", "look the target up below this directory").conflicts("into"))
		.addOption(word("--resolve <how>", "refuse paths with symbolic links", ["no-symlinks"]))
		.option("--replace", "replace the mount at the target (Linux 6.5)")
		.option("--read-only", "refuse writes through the mount")
		.option("--nosuid", "ignore set-user-ID, set-group-ID and file capabilities")
		.option("--nodev", "refuse to open device files")
		.option("--noexec", "refuse to execute programs")
		.option("--nosymfollow", "do not follow symbolic links")
		.option("--nodiratime", "do not update access times of directories")
		.addOption(word("--atime <mode>", "when to update access times", ["relatime", "noatime", "strictatime"]))
		.addOption(word("--propagation <type>", 'how later mounts propagate (default: "private")', PROPAGATION));
}

const PROPAGATION = ["private", "shared", "slave", "unbindable"];

function word(flags: string, description: string, choices: readonly string[]): Option {
	return new Option(flags, description).choices(choices);
}

async function mount(command: Command, source: string, target: string, given: Options): Promise<void> {
	const { from, map, owner, userns, readOnly = false, mapRootOnly, into, json, ...options } = given;
	if (map === undefined && owner === undefined && userns === undefined && !given.unmap) {
		command.error("error: none of --map, --owner, --userns and --unmap is given");
	}
	if (given.others !== undefined && owner === undefined) command.error("error: --others needs --owner");
	if (mapRootOnly && !given.recursive) command.error("error: --map-root-only needs --recursive");
	const ofContainer = map === "container";
	if (ofContainer && into === undefined) command.error("error: --map container needs --into");
	const mapping = map === undefined || ofContainer ? undefined : readMountMap(map);
	const visible = owner === undefined ? undefined : readOwner(owner, into !== undefined);
	// The library warns of a mount that "userns umount" would not recognise. Node's own listener prints the pid and the code too.
	if (given.unmap) {
		process.removeAllListeners("warning");
		process.on("warning", ({ message }) => void printErrors(`userns: ${printable(commandWords(message))}\n`));
	}
	const namespace = userns === undefined ? undefined : await openTarget(userns);
	const mounted = await mountIdmapped({
		...options,
		source,
		...(from !== undefined && { from: pidOrPath(from) }),
		target,
		readonly: readOnly,
		...(mapping !== undefined && { mapping }),
		...(visible !== undefined && { owner: visible }),
		...(namespace !== undefined && { userns: namespace }),
		...(ofContainer && { userns: "container" as const }),
		...(mapRootOnly && { recursiveIdmap: false }),
		...containerOf(into),
	}).finally(() => namespace?.close());
	const { mountId, mapping: shown, skipped, warnings } = mounted;
	mounted.close();
	for (const warning of warnings) await printErrors(`userns: ${printable(commandWords(warning))}\n`);
	const { recursive = false, skipUnsupported } = given;
	const result = {
		source,
		...(from !== undefined && { from }),
		target,
		mountId,
		readOnly,
		recursive,
		mapping: shown,
		...(warnings.length > 0 && { warnings }),
		...(skipUnsupported && { skipped }),
	};
	const done = `${source}${from === undefined ? "" : ` of ${from}`} is mounted on ${target}${into === undefined ? "" : ` in ${into}`}`;
	await print(
		json,
		result,
		() => [
			done,
			...(given.unmap ? ["without a map"] : mappingLines(shown, "on disk", "visible")),
			...skipped.map(
				({ mountPoint, fsType, reason }) => `not mapped: ${fsType} at ${mountPoint}: ${commandWords(reason)}`,
			),
		],
		done,
	);
}
