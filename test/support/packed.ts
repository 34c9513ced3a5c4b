import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./child.ts";

export interface Packed {
	/** The path of the tarball. */
	tarball: string;
	size: number;
	files: { path: string; mode: number }[];
}

let result: Packed | undefined;

/** The package as `npm pack` makes it of this build. Its scripts, which build it, do not run again. */
export function packed(): Packed {
	if (result !== undefined) return result;
	const folder = mkdtempSync(join(tmpdir(), "userns-packed-"));
	process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
	const args = ["pack", "--ignore-scripts", "--json", "--pack-destination", folder];
	const { status, stdout, stderr } = spawnSync("npm", args, { cwd: root, encoding: "utf8" });
	if (status !== 0) throw new Error(`npm pack: ${stderr}`);
	const [{ filename, size, files }] = JSON.parse(stdout);
	result = { tarball: join(folder, filename), size, files };
	return result;
}
