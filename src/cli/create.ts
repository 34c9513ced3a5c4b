import type { Command } from "commander";
import { type CreateOptions, pin, UserNamespace } from "../index.ts";
import { AUTO_HELP, readMap } from "./map-argument.ts";
import { MAP_HELP, mappingLines, print } from "./output.ts";

interface Options extends CreateOptions {
	map: string;
	at: string;
	json?: boolean;
}

export function define(command: Command): void {
	command
		.requiredOption("--map <map>", "containerID:hostID:size[,…]; see below")
		.requiredOption("--at <path>", "a new file that keeps the namespace alive")
		.option("--setgroups <word>", '"deny" or "allow" setgroups(2) inside (default: deny)')
		.option("--json", "print the result as JSON")
		.addHelpText("after", `${MAP_HELP}\n${AUTO_HELP}\n\nThe namespace stays until "userns umount PATH".`)
		.action(create);
}

async function create({ map, at, setgroups, json }: Options): Promise<void> {
	const namespace = await UserNamespace.create(readMap(map), setgroups === undefined ? {} : { setgroups });
	try {
		pin(namespace, at);
		const mapping = await namespace.mapping();
		const { inode } = namespace;
		await print(
			json,
			{ path: at, inode, setgroups: setgroups ?? "deny", mapping },
			() => [`user namespace ${inode} is kept at ${at}`, ...mappingLines(mapping, "inside", "outside")],
			`the user namespace ${inode} is pinned at ${at}`,
		);
	} finally {
		namespace.close();
	}
}
