import { readdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/child.ts";

/** The folder of the harnesses for C, in the source tree. */
export const folder: string = join(root, "test/fuzz/native");

/** The files of native/ that a harness needs beside the file that it includes. */
const OTHERS: Record<string, readonly string[]> = {
	"bounded-child": ["child/child.c", "child/cpu-binding.c"],
	newidmap: ["child/child.c", "child/cpu-binding.c", "proc/procfs.c", "proc/procfs-file.c"],
};

export const harnesses: readonly string[] = readdirSync(folder)
	.filter((file) => file.endsWith(".c") && file !== "replay.c")
	.map((file) => file.slice(0, -2))
	.sort();

/** The compiler's arguments for one harness, without the sanitizers and the output. */
export function sourcesOf(name: string): string[] {
	const others = (OTHERS[name] ?? []).map((file) => join(root, "native", file));
	const flags = [
		"-D_GNU_SOURCE",
		"-std=gnu11",
		"-Wall",
		"-Wextra",
		"-Werror",
		"-g",
		"-O1",
		"-pthread",
		`-I${join(root, "native")}`,
	];
	return [...flags, join(folder, `${name}.c`), ...others];
}
