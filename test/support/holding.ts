import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { root, sh } from "./child.ts";
import { withTmpfs } from "./mounts.ts";
import type { Need } from "./needs.ts";

export const HOLDING: readonly Need[] = ["linux", "root", "private-mounts", "ids", "tool:cc", "linux:5.9"];

export interface Held {
	way: string;
	inode: number;
	/** A pid or a descriptor, see the program. */
	number: number;
	map: string;
}

/** Runs hold-namespaces.c while `body` runs. */
export async function holding(
	count: number,
	body: (held: Held[], pid: number) => Promise<void>,
): Promise<void> {
	const tools = mkdtempSync(join(tmpdir(), "userns-hold-"));
	try {
		await withTmpfs(async (folder) => {
			const program = join(tools, "hold-namespaces");
			sh("cc", "-O1", "-o", program, join(root, "test/support/programs/hold-namespaces.c"));
			const child = spawn(program, [`${count}`, folder], { stdio: ["ignore", "pipe", "inherit"] });
			const closed = once(child, "close");
			try {
				const held: Held[] = [];
				for await (const line of createInterface(child.stdout)) {
					if (line === "ready") break;
					const [way = "", inode, number] = line.split(" ");
					const map = `0:${3000000 + held.length}:1`;
					held.push({ way, inode: Number(inode), number: Number(number), map });
				}
				assert.equal(held.length, count * 8);
				await body(held, child.pid as number);
			} finally {
				child.kill("SIGKILL");
				await closed;
				sh("sh", "-c", 'for each in "$1"/*; do umount "$each" 2>/dev/null; done; true', "sh", folder);
			}
		});
	} finally {
		rmSync(tools, { recursive: true });
	}
}
