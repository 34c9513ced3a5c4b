// Kernel modules and their dependencies, read from the modules themselves.
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

/** A module's name is written with "-" or "_" in its file's name, and always with "_" in the kernel. */
function nameOf(file) {
	return basename(file, ".ko").replaceAll("-", "_");
}

/** Returns the names in `depends=` of the section .modinfo, which are separated by commas. */
function needsOf(file) {
	const list = /\0depends=([^\0]*)\0/.exec(readFileSync(file, "latin1"))?.[1] ?? "";
	return list.split(",").filter((name) => name !== "");
}

/**
 * Returns the files of the modules in `names` and of their dependencies, each after its dependencies, which is the order
 * of insmod. A name without a file is built into the kernel.
 */
export function modules(folder, names) {
	const files = new Map(
		readdirSync(folder, { recursive: true })
			.filter((file) => file.endsWith(".ko"))
			.map((file) => [nameOf(file), join(folder, file)]),
	);
	const found = new Set();
	const visit = (name) => {
		const file = files.get(nameOf(name));
		if (file === undefined || found.has(file)) return;
		for (const needed of needsOf(file)) visit(needed);
		found.add(file);
	};
	for (const name of names) visit(name);
	return [...found];
}
