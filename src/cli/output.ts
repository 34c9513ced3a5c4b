import { type IdMap, type Mapping, UsernsError } from "../index.ts";

/** Exit statuses of the command: 0 done, 1 failed, 2 wrong usage. */
export const FAILED = 1;
export const WRONG_USAGE = 2;

/** True when the words of the call were wrong, so that nothing was tried. */
export function isWrongUsage(error: unknown): boolean {
	return (
		error instanceof UsernsError &&
		(error.code === "ERR_USERNS_INVALID_ARGUMENT" || error.code === "ERR_USERNS_INVALID_MAPPING")
	);
}

/** Prints a result: with --json as one JSON value on standard output, otherwise the lines that `text` makes. */
export function print(json: boolean | undefined, value: unknown, text: () => string): void {
	const out = json ? JSON.stringify(value, null, 2) : text();
	if (out !== "") process.stdout.write(`${out}\n`);
}

/** Tells about a failure on standard error, and with --json as `{"error": …}` on standard output too. */
export function printFailure(error: unknown, json: boolean): void {
	const message = error instanceof Error ? error.message : String(error);
	if (json) process.stdout.write(`${JSON.stringify({ error: asData(error, message) }, null, 2)}\n`);
	let text = `userns: ${message}\n`;
	if (error instanceof UsernsError && error.hint !== undefined) text += `hint: ${error.hint}\n`;
	process.stderr.write(text);
}

function asData(error: unknown, message: string): Record<string, unknown> {
	return error instanceof UsernsError ? error.toJSON() : { message };
}

/** Rows as columns of equal width, two spaces apart, nothing behind the last one. */
export function table(rows: readonly (readonly string[])[]): string {
	const widths: number[] = [];
	for (const row of rows) {
		row.forEach((cell, column) => {
			widths[column] = Math.max(widths[column] ?? 0, cell.length);
		});
	}
	const line = (row: readonly string[]) =>
		row
			.map((cell, column) => cell.padEnd(widths[column] ?? 0))
			.join("  ")
			.trimEnd();
	return rows.map(line).join("\n");
}

/** For every command that takes --map. */
export const MAP_HELP = `
MAP is [u:|g:|b:]containerID:hostID:size[,…]: u: for user IDs, g: for group IDs,
b: or nothing for both. In a namespace, containerID is the ID inside and hostID
the ID outside; for a mount, containerID is the ID on disk and hostID the ID
visible through the mount. 0:2100000000:65536 shows what root owns on disk as
owned by 2100000000.`;

/** The two columns of a mapping under headings that fit the use, both kinds as one where they are the same. */
export function mappingLines(mapping: Mapping, first: string, second: string): string[] {
	return table([["", first, second, "IDs"], ...mappingRows(mapping)]).split("\n");
}

/** The same as rows of four: the kind, the two columns, how many IDs. */
export function mappingRows({ uidMappings, gidMappings }: Mapping): string[][] {
	if (sameRows(uidMappings, gidMappings)) return rangeRows("uid, gid", uidMappings);
	return [...rangeRows("uid", uidMappings), ...rangeRows("gid", gidMappings)];
}

function sameRows(a: readonly Readonly<IdMap>[], b: readonly Readonly<IdMap>[]): boolean {
	return a.length === b.length && JSON.stringify(a) === JSON.stringify(b);
}

function rangeRows(kind: string, extents: readonly Readonly<IdMap>[]): string[][] {
	if (extents.length === 0) return [[kind, "none", "none", "0"]];
	return extents.map(({ containerID, hostID, size }, index) => [
		index === 0 ? kind : "",
		range(containerID, size),
		range(hostID, size),
		`${size}`,
	]);
}

function range(first: number, size: number): string {
	return size === 1 ? `${first}` : `${first}–${first + size - 1}`;
}
