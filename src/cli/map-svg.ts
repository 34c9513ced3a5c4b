import type { IdMap, Mapping } from "../index.ts";
import { type Column, HEADINGS, type Item, type Picture, pictures, rangeOf } from "./map-picture.ts";

const WIDTH = 760;
const BAR = 14;
const LEFT = 250;
const RIGHT = WIDTH - LEFT - BAR;
const SPACE = 6;
const GAP = 26;
const HEADER = 64;

/** Colours that readers with red-green colour blindness can distinguish, on a light and on a dark background. */
export const HUES: readonly string[] = ["#3b7dd8", "#d9822b", "#3a9d8f", "#a55cc0", "#c2476b", "#7c8a2e"];

export const STYLE = `
text { font: 14px ui-sans-serif, system-ui, sans-serif; fill: #1c2330; }
.title { font-size: 17px; font-weight: 600; }
.heading, .gap { fill: #5b6675; }
.gap { font-size: 12px; }
.paper { fill: #ffffff; }
.dash { stroke: #9aa5b3; stroke-dasharray: 2 4; stroke-width: 2; }
.ribbon { fill-opacity: 0.22; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6ebf2; }
  .heading, .gap { fill: #9aa7b8; }
  .paper { fill: #12161d; }
  .dash { stroke: #566273; }
  .ribbon { fill-opacity: 0.34; }
}`;

interface Box {
	top: number;
	height: number;
}

/** A single ID has the height of its label, and every doubling of the size adds 4 pixels. */
function heightOf(size: number): number {
	return 22 + 4 * Math.log2(size);
}

/** Lays out a column: the box of each extent, the elements of the gaps, and the end of the column. */
function layOut(
	items: readonly Item[],
	top: number,
	side: "left" | "right",
): { boxes: Map<Readonly<IdMap>, Box>; gaps: string[]; end: number } {
	const boxes = new Map<Readonly<IdMap>, Box>();
	const gaps: string[] = [];
	const x = side === "left" ? LEFT + BAR / 2 : RIGHT + BAR / 2;
	let at = top;
	for (const item of items) {
		if ("extent" in item) {
			const height = heightOf(item.extent.size);
			boxes.set(item.extent, { top: at, height });
			at += height + SPACE;
			continue;
		}
		gaps.push(
			`<line class="dash" x1="${x}" y1="${at}" x2="${x}" y2="${at + GAP - SPACE}"/>`,
			label(side, at + (GAP - SPACE) / 2, `${item.gap} not mapped`, "gap"),
		);
		at += GAP;
	}
	return { boxes, gaps, end: at };
}

function label(side: "left" | "right", y: number, text: string, className = ""): string {
	const x = side === "left" ? LEFT - 12 : RIGHT + BAR + 12;
	const anchor = side === "left" ? "end" : "start";
	const name = className === "" ? "" : ` class="${className}"`;
	return `<text${name} x="${x}" y="${(y + 5).toFixed(1)}" text-anchor="${anchor}">${text}</text>`;
}

function drawPicture(picture: Picture, top: number): { parts: string[]; end: number } {
	const left = layOut(picture.left, top + HEADER, "left");
	const right = layOut(picture.right, top + HEADER, "right");
	const ribbons: string[] = [];
	const bars: string[] = [];
	[...left.boxes].forEach(([extent, a], index) => {
		const b = right.boxes.get(extent) as Box;
		const hue = HUES[index % HUES.length] as string;
		ribbons.push(ribbon(a, b, hue));
		for (const [side, x, box, column] of [
			["left", LEFT, a, "containerID"],
			["right", RIGHT, b, "hostID"],
		] as ["left" | "right", number, Box, Column][]) {
			bars.push(
				`<rect x="${x}" y="${box.top.toFixed(1)}" width="${BAR}" height="${box.height.toFixed(1)}" rx="3" fill="${hue}"/>`,
				label(side, box.top + box.height / 2, rangeOf(extent, column)),
			);
		}
	});
	const parts = [
		`<text class="title" x="${WIDTH / 2}" y="${top + 26}" text-anchor="middle">${picture.title}</text>`,
		label("left", top + 44, HEADINGS.left, "heading"),
		label("right", top + 44, HEADINGS.right, "heading"),
		...ribbons,
		...left.gaps,
		...right.gaps,
		...bars,
	];
	return { parts, end: Math.max(left.end, right.end) };
}

function ribbon(a: Box, b: Box, hue: string): string {
	const [x1, x2, middle] = [LEFT + BAR, RIGHT, (LEFT + BAR + RIGHT) / 2];
	const at = (y: number) => y.toFixed(1);
	const down = `M${x1} ${at(a.top)}C${middle} ${at(a.top)} ${middle} ${at(b.top)} ${x2} ${at(b.top)}`;
	const back = `V${at(b.top + b.height)}C${middle} ${at(b.top + b.height)} ${middle} ${at(a.top + a.height)} ${x1} ${at(a.top + a.height)}Z`;
	return `<path class="ribbon" fill="${hue}" d="${down}${back}"/>`;
}

/** Draws a mapping as an SVG file, with real text and with colours for a light and a dark background. */
export function drawSvg(mapping: Mapping): string {
	const parts: string[] = [];
	let at = 0;
	for (const picture of pictures(mapping)) {
		const drawn = drawPicture(picture, at);
		parts.push(...drawn.parts);
		at = drawn.end + 12;
	}
	const height = Math.ceil(at + 8);
	return [
		`<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">`,
		`<title>ID mapping ${mapping.uidMappings.length + mapping.gidMappings.length > 12 ? "" : mapping}</title>`,
		`<style>${STYLE}\n</style>`,
		`<rect class="paper" width="${WIDTH}" height="${height}"/>`,
		...parts,
		"</svg>\n",
	].join("\n");
}
