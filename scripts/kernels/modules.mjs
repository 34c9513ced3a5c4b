// Kernel modules and their dependencies, read from the modules themselves.
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { quiet } from "./packages.mjs";

const MODULE = /\.ko(\.xz)?$/;

/** A module's name is written with "-" or "_" in its file's name, and always with "_" in the kernel. */
function nameOf(file) {
	return basename(file).replace(MODULE, "").replaceAll("-", "_");
}

/** Returns the names in `depends=` of the section .modinfo, which are separated by commas. */
function needsOf(file) {
	const content = file.endsWith(".xz")
		? quiet("xz", ["-dc", file], { encoding: "latin1" })
		: readFileSync(file, "latin1");
	const list = /\0depends=([^\0]*)\0/.exec(content)?.[1] ?? "";
	return list.split(",").filter((name) => name !== "");
}

/**
 * Returns the files below a folder of the modules in `names` and of their dependencies, each after its dependencies, which is the order
 * of insmod. A name without a file is built into the kernel.
 */
export function modules(folder, names) {
	const files = new Map(
		readdirSync(folder, { recursive: true })
			.filter((file) => MODULE.test(file))
			.map((file) => [nameOf(file), file]),
	);
	const found = new Set();
	const visit = (name) => {
		const file = files.get(nameOf(name));
		if (file === undefined || found.has(file)) return;
		for (const needed of needsOf(join(folder, file))) visit(needed);
		found.add(file);
	};
	for (const name of names) visit(name);
	return [...found];
}
