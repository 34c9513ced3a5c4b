import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { packageForAll, root } from "./child.ts";

/** A copy of the build beside that of `ask`: its files are other files, so Node loads it separately. */
export async function withCopy(work: (url: string, folder: string) => void | Promise<void>): Promise<void> {
	const folder = mkdtempSync(join(tmpdir(), "userns-copy-"));
	try {
		chmodSync(folder, 0o755);
		cpSync(packageForAll(), folder, { recursive: true });
		await work(pathToFileURL(join(folder, "dist/src/library/userns.js")).href, folder);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

/** The step that fails in a copy of `withLame` if the creation process needs its own memory. */
export const EXECUTING = "executing userns-join";

const ADDON = join("prebuilds", `userns.linux-${process.arch}.node`);
const PROGRAMS = ["userns-join", "userns-enter"] as const;

/** The offset of a program in the add-on, which contains both after itself, each an ELF file (native/child/own-program.c). */
function offsetOf(bytes: Buffer, program: (typeof PROGRAMS)[number]): number {
	const magic = Buffer.from("\x7fELF\x02", "latin1");
	let offset = 0;
	for (let nth = 0; nth <= PROGRAMS.indexOf(program); nth++) offset = bytes.indexOf(magic, offset + 1);
	if (offset < 1) throw new Error(`the add-on does not contain ${program}`);
	return offset;
}

/** Writes a program of the add-on to a file. What follows it in the add-on is no part of the program, and does no harm. */
export function extractProgram(program: (typeof PROGRAMS)[number], file: string): void {
	const bytes = readFileSync(join(root, ADDON));
	writeFileSync(file, bytes.subarray(offsetOf(bytes, program)), { mode: 0o755 });
}

/** A copy whose userns-join is no program: a creation fails if and only if its process needs its own memory. */
export function withLame(work: (url: string) => void | Promise<void>): Promise<void> {
	return withCopy((url, folder) => {
		const file = join(folder, ADDON);
		const bytes = readFileSync(file);
		bytes.fill(0, offsetOf(bytes, "userns-join"), offsetOf(bytes, "userns-join") + 4);
		writeFileSync(file, bytes);
		return work(url);
	});
}
