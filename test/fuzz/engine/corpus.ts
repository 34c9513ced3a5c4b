import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../../support/child.ts";

/** In the source tree, so that git keeps it: one folder for each target. */
export function corpusFolder(target: string): string {
	return join(root, "test/fuzz/corpus", target);
}

export interface Entry {
	name: string;
	bytes: Uint8Array;
}

export function readCorpus(target: string): Entry[] {
	const folder = corpusFolder(target);
	if (!existsSync(folder)) return [];
	return readdirSync(folder)
		.sort()
		.map((name) => ({ name, bytes: readFileSync(join(folder, name)) }));
}

export function nameFor(kind: string, bytes: Uint8Array): string {
	return `${kind}-${createHash("sha256").update(bytes).digest("hex").slice(0, 12)}`;
}

/** The path that it has then. */
export function keep(target: string, kind: string, bytes: Uint8Array): string {
	const folder = corpusFolder(target);
	const file = join(folder, nameFor(kind, bytes));
	mkdirSync(folder, { recursive: true });
	writeFileSync(file, bytes);
	return file;
}

/** An input, escaped for a message. */
export function shown(bytes: Uint8Array): string {
	const text = JSON.stringify(Buffer.from(bytes).toString("latin1"));
	return text.length <= 600 ? text : `${text.slice(0, 600)}… (${bytes.length} bytes)`;
}

/** Replaces the inputs that earlier runs found by the ones that this run wants to keep. Past crashes stay. */
export function replaceFound(target: string, found: readonly Uint8Array[]): void {
	const folder = corpusFolder(target);
	const names = new Set(found.map((bytes) => nameFor("found", bytes)));
	for (const { name } of readCorpus(target)) {
		if (name.startsWith("found-") && !names.has(name)) rmSync(join(folder, name));
	}
	for (const bytes of found) keep(target, "found", bytes);
}
