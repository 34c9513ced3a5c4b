import type { IdMap, Mapping } from "../index.ts";
import { type Column, HEADINGS, type Item, type Picture, pictures } from "./map-picture.ts";

/** The width of a side column: the longest ID, or the text of a gap. Two sides and the middle are at most 80 columns. */
const SIDE = 21;
const MIDDLE = 36;

/** The directions in which a line leaves a cell of the middle. Their sum selects the character in BOX. */
const [UP, RIGHT, DOWN, LEFT] = [1, 2, 4, 8];
const BOX: Record<number, string> = {
	0: " ",
	[LEFT | RIGHT]: "─",
	[UP | DOWN]: "│",
	[LEFT | DOWN]: "┐",
	[LEFT | UP]: "┘",
	[RIGHT | DOWN]: "┌",
	[RIGHT | UP]: "└",
	[LEFT | RIGHT | UP | DOWN]: "┼",
};

interface SideColumn {
	/** The text of each row. */
	text: string[];
	/** The row at which the line of each extent begins or ends. */
	rows: Map<Readonly<IdMap>, number>;
}

/** The rows of an extent: one more for every 8 bits of its size, so that large extents fit on a screen. */
function heightOf(size: number, most: number): number {
	return size === 1 ? 1 : Math.min(most, 3 + Math.floor(Math.log2(size) / 8));
}

function block(extent: Readonly<IdMap>, column: Column, height: number, side: "left" | "right"): string[] {
	const first = extent[column];
	if (height === 1) return [edge(`${first}`, "■", side)];
	const [top, middle, bottom, wall] = side === "left" ? ["┐", "├", "┘", "│"] : ["┌", "┤", "└", "│"];
	return Array.from({ length: height }, (_, row) => {
		if (row === 0) return edge(`${first}`, top, side);
		if (row === height - 1) return edge(`${first + extent.size - 1}`, bottom, side);
		return edge("", row === Math.floor(height / 2) ? middle : wall, side);
	});
}

function edge(label: string, sign: string, side: "left" | "right"): string {
	return side === "left" ? `${label.padStart(SIDE - 2)} ${sign}` : `${sign} ${label}`;
}

/** Lays out the items of a column from top to bottom. With a parity, every line is in a row of that parity. */
function layOut(
	items: readonly Item[],
	column: Column,
	side: "left" | "right",
	most: number,
	parity?: number,
): SideColumn {
	const text: string[] = [];
	const rows = new Map<Readonly<IdMap>, number>();
	for (const item of items) {
		if ("gap" in item) {
			text.push(edge(`${item.gap} not mapped`, "⋮", side));
			continue;
		}
		const height = heightOf(item.extent.size, most);
		const middle = Math.floor(height / 2);
		if (parity !== undefined && (text.length + middle) % 2 !== parity) text.push("");
		rows.set(item.extent, text.length + middle);
		text.push(...block(item.extent, column, height, side));
	}
	return { text, rows };
}

/** Lays out both columns so that an extent has the same rows in both. */
function layOutParallel(picture: Picture, most: number): [SideColumn, SideColumn] {
	const left: SideColumn = { text: [], rows: new Map() };
	const right: SideColumn = { text: [], rows: new Map() };
	const gapBefore = (items: readonly Item[], extent: Readonly<IdMap>) => {
		const at = items.findIndex((item) => "extent" in item && item.extent === extent);
		const before = items[at - 1];
		return before !== undefined && "gap" in before ? before.gap : 0;
	};
	for (const item of picture.left) {
		if ("gap" in item) continue;
		const [a, b] = [
			gapBefore(picture.left, item.extent),
			picture.parallel ? gapBefore(picture.right, item.extent) : 0,
		];
		if (a + b > 0) {
			left.text.push(a > 0 ? edge(`${a} not mapped`, "⋮", "left") : "");
			right.text.push(b > 0 ? edge(`${b} not mapped`, "⋮", "right") : "");
		}
		const height = heightOf(item.extent.size, most);
		for (const side of [left, right]) side.rows.set(item.extent, side.text.length + Math.floor(height / 2));
		left.text.push(...block(item.extent, "containerID", height, "left"));
		right.text.push(...block(item.extent, "hostID", height, "right"));
	}
	return [left, right];
}

/**
 * Draws the lines between the columns. Each line that changes its row does so in a separate lane, begins in an even row
 * and ends in an odd one. Therefore lines cross, but never overlap.
 */
function connect(left: SideColumn, right: SideColumn, height: number): string[] {
	const cells = Array.from({ length: height }, () => new Array<number>(MIDDLE).fill(0));
	const add = (row: number, column: number, bits: number) => {
		const line = cells[row] as number[];
		line[column] = (line[column] as number) | bits;
	};
	const bent = [...left.rows].filter(([extent, row]) => right.rows.get(extent) !== row);
	const step = Math.max(1, Math.floor((MIDDLE - 2) / (bent.length + 1)));
	for (const [extent, from] of left.rows) {
		const to = right.rows.get(extent) as number;
		const order = bent.findIndex(([each]) => each === extent);
		const lane = order < 0 ? MIDDLE : ((order + 1) * step) % (MIDDLE - 1);
		for (let x = 0; x < lane; x++) add(from, x, LEFT | RIGHT);
		if (order < 0) continue;
		add(from, lane, LEFT | (to > from ? DOWN : UP));
		for (let y = Math.min(from, to) + 1; y < Math.max(from, to); y++) add(y, lane, UP | DOWN);
		add(to, lane, RIGHT | (to > from ? UP : DOWN));
		for (let x = lane + 1; x < MIDDLE; x++) add(to, x, LEFT | RIGHT);
	}
	return cells.map((line) => line.map((bits) => BOX[bits] ?? "┼").join(""));
}

/** The number of lanes. With more lines, lines would overlap, so the right column then has the order of the left one. */
const MOST_LINES = MIDDLE - 2;

function draw(picture: Picture): string[] {
	const many = picture.left.length > 12;
	const most = many ? 3 : 7;
	const [left, right] =
		picture.parallel || picture.left.length > MOST_LINES
			? layOutParallel(picture, most)
			: [
					layOut(picture.left, "containerID", "left", most, 0),
					layOut(picture.right, "hostID", "right", most, 1),
				];
	const height = Math.max(left.text.length, right.text.length);
	const middle = connect(left, right, height);
	const rows = middle.map((line, i) =>
		`${(left.text[i] ?? "").padEnd(SIDE)}${line}${right.text[i] ?? ""}`.trimEnd(),
	);
	return [
		picture.title,
		`${HEADINGS.left.padStart(SIDE - 2)}${" ".repeat(MIDDLE + 2)}  ${HEADINGS.right}`,
		...rows,
	];
}

/** Draws a mapping as two columns of ranges, joined by lines, at most 80 columns wide. */
export function drawText(mapping: Mapping): string {
	return pictures(mapping)
		.map((each) => draw(each).join("\n"))
		.join("\n\n");
}
