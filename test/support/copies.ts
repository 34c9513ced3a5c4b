import { chmodSync, cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { packageForAll } from "./child.ts";

/** A copy of the build beside that of `ask`: its files are other files, so Node loads it separately. */
export async function withCopy(work: (url: string, folder: string) => void | Promise<void>): Promise<void> {
	const folder = mkdtempSync(join(tmpdir(), "userns-copy-"));
	try {
		chmodSync(folder, 0o755);
		cpSync(packageForAll(), folder, { recursive: true });
		await work(pathToFileURL(join(folder, "dist/src/index.js")).href, folder);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

/** The step that fails in a copy of `withLame` if the creation process needs its own memory. */
export const EXECUTING = "executing userns-join";

/** A copy without userns-join: a creation fails if and only if its process needs its own memory. */
export function withLame(work: (url: string) => void | Promise<void>): Promise<void> {
	return withCopy((url, folder) => {
		rmSync(join(folder, "build", `linux-${process.arch}`, "userns-join"));
		return work(url);
	});
}
