import type { Command } from "commander";
import {
	type CreateOptions,
	type PathOptions,
	pinAsync,
	supports,
	UserNamespace,
	UsernsError,
} from "../index.ts";
import { NAMESPACE_MAP_HELP, readMap, setgroupsOption, userOption } from "./map-argument.ts";
import { addPathOptions, PATH_HELP, pathOptions } from "./namespace-argument.ts";
import { isWrongUsage, mappingLines, print } from "./output.ts";

interface Options extends CreateOptions, PathOptions {
	map?: string;
	user?: string;
	at?: string;
	json?: boolean;
}

const HELP = `
Example:
  userns create --map 0:2100000000:65536 --at /run/userns-a
creates a user namespace whose root is uid 2100000000 outside, and pins it at
/run/userns-a. "userns umount /run/userns-a" unmounts it. Pinning needs root.
${NAMESPACE_MAP_HELP}
${PATH_HELP}`;

export function define(command: Command): void {
	command
		.option("--map <map>", "the mapping of the namespace; see below")
		.addOption(userOption())
		.option("--at <path>", "the path to pin it at, which must not exist yet")
		.addOption(setgroupsOption('whether setgroups(2) works inside (default: "deny")'));
	addPathOptions(command)
		.option("--json", "print the result as JSON")
		.addHelpText("after", HELP)
		.action((options: Options) => create(command, options));
}

/** Passes the whole `options` object on, because the rest of a destructuring would have a prototype again. */
async function create(command: Command, options: Options): Promise<void> {
	const { map, user, at, setgroups, json } = options;
	// Commander would report a required option before an unknown one, which can be the mistaken form of it.
	if (map === undefined) command.error("error: required option '--map <map>' not specified");
	if (at === undefined) command.error("error: required option '--at <path>' not specified");
	const namespace = await createFor(map, user, at, setgroups === undefined ? {} : { setgroups });
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

/** A caller that may not mount cannot pin, whatever the mapping is, so that error comes before one about the mapping. */
async function createFor(
	map: string,
	user: string | undefined,
	at: string,
	options: CreateOptions,
): Promise<UserNamespace> {
	try {
		return await UserNamespace.create(readMap(map, user), options);
	} catch (error) {
		if (!isWrongUsage(error)) await refuseUnprivileged(at);
		throw error;
	}
}

/** Throws if the caller may not mount, which supports() reports. */
async function refuseUnprivileged(at: string): Promise<void> {
	const refused = await supports("/").then(
		() => undefined,
		(error: unknown) => error,
	);
	if (
		!(refused instanceof UsernsError) ||
		refused.code !== "ERR_USERNS_MOUNT" ||
		refused.errnoCode !== "EPERM"
	)
		return;
	const { errno, syscall, step, hint } = refused;
	const message = `cannot pin a user namespace at ${JSON.stringify(at)}: mounting: ${refused.errnoCode}`;
	throw new UsernsError("ERR_USERNS_PIN", message, { errno, syscall, step, hint });
}
