/** Formats a row of the tables that the fuzzers print: a name, then numbers below their headings. */
export function line(cells) {
	return cells.map((cell, i) => (i === 0 ? cell.padEnd(16) : String(cell).padStart(11))).join("");
}
