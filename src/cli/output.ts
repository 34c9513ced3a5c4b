import { UsernsError } from "../index.ts";

/** Exit statuses of the command: 0 done, 1 failed, 2 wrong usage. */
export const FAILED = 1;
export const WRONG_USAGE = 2;

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
