import { basename } from "node:path";

/*
 * The runtime of the processes that tests start: that of this process, or the one in USERNS_TEST_RUNTIME, with which Node tests the
 * commands and examples of the README on Bun and Deno (scripts/test-runtimes.mjs).
 */
const program: string = process.env.USERNS_TEST_RUNTIME ?? process.execPath;
const kind = basename(program).replace(/-musl$/, "");

/** The command that runs a file. */
export function runFile(file: string): string[] {
	return kind === "deno" ? [program, "run", "--allow-all", file] : [program, file];
}

/** The command that runs the text of a module. */
export function runText(code: string, nodeFlags: readonly string[] = []): string[] {
	if (kind === "deno") return [program, "eval", code];
	if (kind === "bun") return [program, "-e", code];
	return [program, ...nodeFlags, "--input-type=module", "-e", code];
}
