import type { ListedNamespace } from "../index.ts";
import { type Branch, heldBy, INITIAL, shortMap } from "./ls-tree.ts";
import { HUES, STYLE } from "./map-svg.ts";
import { printable } from "./output.ts";

const WIDTH = 760;
const MARGIN = 24;
const TOP = 56;
/** The height of a namespace with the space below it, and the height of its bar. */
const ROW = 52;
const BAR = 40;
/** The step of the tree, at most; deep trees have smaller ones. */
const STEP = 34;
/** The mean width of a letter, in pixels, for each size of text. */
const LETTER = { title: 9, name: 7.4, small: 6.8, gap: 6.1 };

const MORE = `
.line { fill: none; stroke: #9aa5b3; stroke-width: 1.5; }
.small { font-size: 13px; fill: #5b6675; }
@media (prefers-color-scheme: dark) {
  .line { stroke: #566273; }
  .small { fill: #9aa7b8; }
}`;

function text(x: number, y: number, content: string, className: keyof typeof LETTER): string {
	const most = Math.floor((WIDTH - MARGIN - x) / LETTER[className]);
	const signs = [...printable(content)];
	const cut = signs.length <= most ? signs : [...signs.slice(0, most - 1), "…"];
	const escaped = cut.join("").replaceAll("&", "&amp;").replaceAll("<", "&lt;");
	return `<text class="${className}" x="${x}" y="${y}">${escaped}</text>`;
}

function count(number: number, one: string, many: string): string {
	return `${number} ${number === 1 ? one : many}`;
}

function describe(namespace: ListedNamespace): string {
	const { ownerUid, processes, mounts } = namespace;
	const parts = [`owner ${ownerUid}`, count(processes.length, "process", "processes")];
	if (mounts.length > 0) parts.push(count(mounts.length, "ID-mapped mount", "ID-mapped mounts"));
	return [...parts, `held by ${heldBy(namespace)}`].join(" · ");
}

/** Draws the tree of namespaces as an SVG file, in the style of the drawing of a mapping. */
export function drawTree(tree: readonly Branch[], unseen: readonly string[]): string {
	const deepest = tree.reduce((most, { depth }) => Math.max(most, depth), 0);
	const step = Math.min(STEP, Math.floor(260 / Math.max(1, deepest)));
	const parts: string[] = [];
	/** The bottom of the bar above, at each depth. */
	const above: number[] = [];
	tree.forEach(({ namespace, depth }, index) => {
		const [x, y] = [MARGIN + depth * step, TOP + index * ROW];
		const from = above[depth - 1];
		if (depth > 0 && from !== undefined) {
			const left = x - step + 7;
			parts.push(`<path class="line" d="M${left} ${from}V${y + BAR / 2}H${x}"/>`);
		}
		above[depth] = y + BAR;
		const hue = HUES[depth % HUES.length];
		const name = namespace.inode === INITIAL ? "initial user namespace" : `map ${shortMap(namespace)}`;
		parts.push(
			`<rect x="${x}" y="${y}" width="14" height="${BAR}" rx="3" fill="${hue}"/>`,
			text(x + 24, y + 16, `${namespace.inode} · ${name}`, "name"),
			text(x + 24, y + 35, describe(namespace), "small"),
		);
	});
	let at = TOP + tree.length * ROW + 16;
	for (const each of unseen) {
		parts.push(text(MARGIN, at, `not seen: ${each}`, "gap"));
		at += 20;
	}
	return [
		`<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${at}" viewBox="0 0 ${WIDTH} ${at}" role="img">`,
		`<title>User namespaces</title>`,
		`<style>${STYLE}${MORE}\n</style>`,
		`<rect class="paper" width="${WIDTH}" height="${at}"/>`,
		text(MARGIN, 32, count(tree.length, "user namespace", "user namespaces"), "title"),
		...parts,
		"</svg>\n",
	].join("\n");
}
