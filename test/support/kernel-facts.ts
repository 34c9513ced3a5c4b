import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, sh } from "./child.ts";

let program: string | undefined;

/**
 * Asks the kernel itself, with kernel-facts.c. Returns its errno, or 0, for each name; for folders, "idmap FOLDER" and
 * "half FOLDER". Needs root and a C compiler.
 */
export function kernelFacts(...folders: string[]): Map<string, number> {
	if (program === undefined) {
		const folder = mkdtempSync(join(tmpdir(), "userns-facts-"));
		process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
		program = join(folder, "facts");
		sh("cc", "-O2", "-o", program, join(root, "test/support/programs/kernel-facts.c"));
	}
	const lines = sh(program, ...folders)
		.trim()
		.split("\n");
	return new Map(
		lines.map((line) => {
			const at = line.lastIndexOf(" ");
			return [line.slice(0, at), Number(line.slice(at + 1))];
		}),
	);
}
