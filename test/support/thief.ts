import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, sh } from "./child.ts";

/** Compiles thief.c for `work`, where every user can execute it. */
export async function withThief(work: (thief: string) => void | Promise<void>): Promise<void> {
	const folder = mkdtempSync(join(tmpdir(), "userns-thief-"));
	const thief = join(folder, "thief");
	chmodSync(folder, 0o755);
	try {
		sh("cc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", thief, join(root, "test/support/programs/thief.c"));
		await work(thief);
	} finally {
		rmSync(folder, { recursive: true });
	}
}
