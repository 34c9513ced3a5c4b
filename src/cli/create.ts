import type { Command } from "commander";
import { type CreateOptions, type PathOptions, pinAsync, UserNamespace } from "../index.ts";
import { AUTO_HELP, readMap } from "./map-argument.ts";
import { addPathOptions, PATH_HELP, pathOptions } from "./namespace-argument.ts";
import { MAP_HELP, mappingLines, print } from "./output.ts";

interface Options extends CreateOptions, PathOptions {
	map: string;
	at: string;
	json?: boolean;
}

export function define(command: Command): void {
	command
		.requiredOption("--map <map>", "containerID:hostID:size[,…]; see below")
		.requiredOption("--at <path>", "a new file that keeps the namespace alive")
		.option("--setgroups <word>", '"deny" or "allow" setgroups(2) inside (default: deny)');
	addPathOptions(command)
		.option("--json", "print the result as JSON")
		.addHelpText(
			"after",
			`${MAP_HELP}\n${AUTO_HELP}\n\nThe namespace stays until "userns umount PATH".${PATH_HELP}`,
		)
		.action(create);
}

/** Passes `options` on whole, because the rest of a destructuring would have a prototype again. */
async function create(options: Options): Promise<void> {
	const { map, at, setgroups, json } = options;
	const namespace = await UserNamespace.create(readMap(map), setgroups === undefined ? {} : { setgroups });
	try {
		await pinAsync(namespace, at, pathOptions(options));
		const mapping = await namespace.mapping();
		const { inode } = namespace;
		await print(
			json,
			{ path: at, inode, setgroups: setgroups ?? "deny", mapping },
			() => [`user namespace ${inode} is pinned at ${at}`, ...mappingLines(mapping, "inside", "outside")],
			`the user namespace ${inode} is pinned at ${at}`,
		);
	} finally {
		namespace.close();
	}
}
