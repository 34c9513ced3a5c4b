import { release } from "node:os";
import type { Command } from "commander";
import { UserNamespace, UsernsError } from "../index.ts";
import { print, table } from "./output.ts";
import { version } from "./program.ts";

const HELP = `
Example:
  userns version
prints the versions that a bug report needs, and whether the native add-on of
the package loads. "userns --version" prints the version of userns alone.`;

export function define(command: Command): void {
	command
		.option("--json", "print the result as JSON")
		.addHelpText("after", HELP)
		.action(({ json }: { json?: boolean }) => show(json));
}

/** Why the add-on cannot be loaded, with the hint; undefined if it loads. */
function addonError(): UsernsError | undefined {
	try {
		UserNamespace.open(process.pid).close();
	} catch (error) {
		const codes = ["ERR_USERNS_NATIVE_MISSING", "ERR_USERNS_UNSUPPORTED_PLATFORM"];
		if (error instanceof UsernsError && codes.includes(error.code)) return error;
	}
	return undefined;
}

function show(json: boolean | undefined): Promise<void> {
	const { platform, arch, versions } = process;
	const error = addonError();
	const facts = {
		version: version(),
		platform,
		kernel: release(),
		arch,
		node: versions.node,
		nodeApi: Number(versions.napi),
		addon: error === undefined ? { loads: true } : { loads: false, ...error.toJSON() },
	};
	return print(json, facts, () => [
		...table([
			["userns", facts.version],
			["kernel", `${platform} ${facts.kernel}, ${arch}`],
			["Node.js", `${facts.node}, Node-API ${facts.nodeApi}`],
			["native add-on", error === undefined ? "loads" : error.message.replace(/^the native add-on /, "")],
		]),
		...(error === undefined ? [] : [`hint: ${error.hint}`]),
	]);
}
