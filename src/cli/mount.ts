import type { Command } from "commander";
import { type MountIdmappedOptions, mountIdmapped } from "../index.ts";
import { MAP_HELP, mappingLines, print } from "./output.ts";

interface Options extends Pick<MountIdmappedOptions, "recursive" | "nosuid" | "nodev" | "noexec"> {
	map: string;
	readOnly?: boolean;
	json?: boolean;
}

export function define(command: Command): void {
	command
		.argument("<source>", "the directory or file to show")
		.argument("<target>", "where to show it; it must exist")
		.requiredOption("--map <map>", "on disk:visible:size[,…]; see below")
		.option("--read-only", "nothing can be written through the mount")
		.option("--recursive", "take the mounts below the source along, mapped too")
		.option("--nosuid", "set-user-ID bits and file capabilities have no effect")
		.option("--nodev", "device files cannot be opened")
		.option("--noexec", "programs cannot be executed")
		.option("--json", "print the result as JSON")
		.addHelpText("after", `${MAP_HELP}\nThe mount stays until "userns umount TARGET".`)
		.action(mount);
}

async function mount(source: string, target: string, options: Options): Promise<void> {
	const { map, readOnly = false, recursive = false, nosuid = false, nodev = false, noexec = false } = options;
	const mounted = await mountIdmapped({
		source,
		target,
		mapping: map,
		readonly: readOnly,
		recursive,
		nosuid,
		nodev,
		noexec,
	});
	const { mountId, mapping } = mounted;
	mounted.close();
	print(options.json, { source, target, mountId, readOnly, recursive, mapping }, () =>
		[`${source} is mounted on ${target}`, ...mappingLines(mapping, "on disk", "visible")].join("\n"),
	);
}
