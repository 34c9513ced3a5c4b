import { readdirSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/child.ts";

/** Where the harnesses for C lie, beside the sources. */
export const folder: string = join(root, "test/fuzz/native");

/** What a harness needs of native/ beside the file that it takes in. */
const OTHERS: Record<string, readonly string[]> = {
	attach: ["child.c", "processor.c"],
	helper: ["child.c", "processor.c", "procfs.c", "procfs-file.c", "procfs-own.c"],
};

export const harnesses: readonly string[] = readdirSync(folder)
	.filter((file) => file.endsWith(".c") && file !== "replay.c")
	.map((file) => file.slice(0, -2))
	.sort();

/** The compiler's arguments for one, without the sanitizers and the output. */
export function sourcesOf(name: string): string[] {
	const others = (OTHERS[name] ?? []).map((file) => join(root, "native", file));
	const flags = ["-D_GNU_SOURCE", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-g", "-O1", "-pthread"];
	return [...flags, join(folder, `${name}.c`), ...others];
}
