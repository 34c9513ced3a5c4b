import { type Command, Option } from "commander";
import { type MountIdmappedOptions, mountIdmapped } from "../index.ts";
import { MAP_HELP, mappingLines, print } from "./output.ts";

type Flags = "recursive" | "skipUnsupported" | "replace" | "unmap";
type Attributes = "nosuid" | "nodev" | "noexec" | "nosymfollow" | "nodiratime" | "atime" | "propagation";
type Places = "nested" | "targetRoot" | "resolve";

interface Options extends Pick<MountIdmappedOptions, Flags | Attributes | Places> {
	map?: string;
	readOnly?: boolean;
	mapRootOnly?: boolean;
	into?: string;
	json?: boolean;
}

/** With --help, what belongs together stands together. */
const HELP = `
On disk and visible: MAP goes from the ID on disk to the ID that is visible.
For a source that is ID-mapped already, "on disk" is what is visible through it
(--nested compose), or what really is on disk (--nested replace).

A target in a directory or container that somebody else can change:
--target-root finds it inside DIR, whatever links and ".." lie on the way;
--into attaches it in the mount namespace of a running container, found under
the container's own root. The mount stays until "userns umount TARGET", with
the same --into, or the container's end.
${MAP_HELP}`;

export function define(command: Command): void {
	command
		.argument("<source>", "the directory or file to show")
		.argument("<target>", "where to show it; it must exist")
		.option("--map <map>", "on disk:visible:size[,…]; see below")
		.option("--unmap", "no map, through a source that has one; not with --map")
		.addOption(word("--nested <how>", "for a source that has a map", ["compose", "replace", "refuse"]))
		.option("--recursive", "take the mounts below the source along, mapped too")
		.option("--map-root-only", "with --recursive: leave the map of those as it is")
		.option("--skip-unsupported", "leave those that cannot be mapped as they are")
		.option("--into <pid|path>", "a container: its pid, or its /proc/PID/ns/mnt")
		.option("--target-root <dir>", "find the target inside this directory")
		.addOption(word("--resolve <how>", "refuse paths with symbolic links", ["no-symlinks"]))
		.option("--replace", "take the place of what is mounted at the target")
		.option("--read-only", "nothing can be written through the mount")
		.option("--nosuid", "set-user-ID bits and file capabilities have no effect")
		.option("--nodev", "device files cannot be opened")
		.option("--noexec", "programs cannot be executed")
		.option("--nosymfollow", "symbolic links are not followed")
		.option("--nodiratime", "access times of directories stay")
		.addOption(word("--atime <mode>", "access times", ["relatime", "noatime", "strictatime"]))
		.addOption(word("--propagation <type>", "how mounts on it spread", PROPAGATION))
		.option("--json", "print the result as JSON")
		.addHelpText("after", HELP)
		.action((source: string, target: string, options: Options) => mount(command, source, target, options));
}

const PROPAGATION = ["private", "shared", "slave", "unbindable"];

function word(flags: string, description: string, choices: readonly string[]): Option {
	return new Option(flags, description).choices(choices);
}

async function mount(command: Command, source: string, target: string, given: Options): Promise<void> {
	const { map, readOnly = false, mapRootOnly, into, json, ...options } = given;
	if (map === undefined && !given.unmap) command.error("error: required option '--map <map>' not specified");
	const mounted = await mountIdmapped({
		...options,
		source,
		target,
		readonly: readOnly,
		...(map !== undefined && { mapping: map }),
		...(mapRootOnly && { recursiveIdmap: false }),
		...(into !== undefined && { into: /^\d+$/.test(into) ? Number(into) : into }),
	});
	const { mountId, mapping, skipped } = mounted;
	mounted.close();
	const { recursive = false, skipUnsupported } = given;
	const result = {
		source,
		target,
		mountId,
		readOnly,
		recursive,
		mapping,
		...(skipUnsupported && { skipped }),
	};
	const done = `${source} is mounted on ${target}${into === undefined ? "" : ` in ${into}`}`;
	await print(
		json,
		result,
		() => [
			done,
			...(given.unmap ? ["without a map"] : mappingLines(mapping, "on disk", "visible")),
			...skipped.map(({ mountPoint, fsType, reason }) => `not mapped: ${fsType} at ${mountPoint}: ${reason}`),
		],
		done,
	);
}
