import type { Explanation, OwnerChain } from "../index.ts";
import { HUES, STYLE } from "./map-svg.ts";
import { printable, shortened, wrap } from "./output.ts";

const WIDTH = 760;
const BOX = { width: 120, height: 40 };
const COLUMNS = ["on disk", "visible", "inside", "stat(2)"];
const LEFT = 80;
const STEP = (WIDTH - LEFT - BOX.width - 24) / (COLUMNS.length - 1);
const LINE = 20;

function text(x: number, y: number, words: string, className = "", anchor = "start"): string {
	const escaped = printable(words).replaceAll(/[<>&"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
	const name = className === "" ? "" : ` class="${className}"`;
	return `<text${name} x="${x}" y="${y}" text-anchor="${anchor}">${escaped}</text>`;
}

/** One kind: a box for each link that has an ID, joined by a line, which is broken where the owner has no ID. */
function chain(kind: string, owner: OwnerChain, top: number, hue: string): string[] {
	const { disk, visible, inside, stat } = owner;
	const middle = top + BOX.height / 2;
	const ids = [disk, visible, inside, stat];
	const parts = [text(24, middle + 5, kind, "heading")];
	ids.forEach((id, i) => {
		const x = LEFT + i * STEP;
		const isLost = id === undefined;
		const nobody = i === 3 && inside === undefined;
		const before = ids[i - 1];
		if (i > 0) {
			const broken = isLost || before === undefined || nobody ? "dash" : "ribbon";
			const stroke = broken === "ribbon" ? ` stroke="${hue}" stroke-width="3"` : "";
			parts.push(
				`<line class="${broken}" x1="${x - STEP + BOX.width}" y1="${middle}" x2="${x}" y2="${middle}"${stroke}/>`,
			);
		}
		const fill = isLost || nobody ? 'class="dash" fill="none"' : `class="ribbon" fill="${hue}"`;
		parts.push(
			`<rect ${fill} x="${x}" y="${top}" width="${BOX.width}" height="${BOX.height}" rx="3"/>`,
			text(x + BOX.width / 2, middle + 5, isLost ? "no ID" : `${id}`, isLost ? "gap" : "", "middle"),
		);
	});
	return parts;
}

/** Draws the chain of an owner as an SVG file, in the style of map-svg.ts. */
export function drawExplanation({ path, mount, uid, gid, access }: Explanation): string {
	const parts = [text(WIDTH / 2, 30, shortened(path, 70), "title", "middle")];
	parts.push(
		...COLUMNS.map((name, i) => text(LEFT + i * STEP + BOX.width / 2, 62, name, "heading", "middle")),
	);
	parts.push(...chain("uid", uid, 76, HUES[0] as string), ...chain("gid", gid, 132, HUES[1] as string));
	let y = 200;
	const paragraph = (words: string) => {
		for (const line of wrap(words, 88, 2)) {
			parts.push(text(24, y, line));
			y += LINE;
		}
	};
	paragraph(
		`mount at ${shortened(mount.mountPoint, 60)} (${mount.fsType}), map ${shortened(`${mount.mapping ?? mount.unknown ?? "none"}`, 60)}`,
	);
	for (const [kind, { lost }] of [["uid", uid] as const, ["gid", gid] as const]) {
		if (lost !== undefined) paragraph(`${kind}: ${lost.reason}`);
	}
	for (const [operation, { allowed, reason }] of Object.entries(access ?? {})) {
		paragraph(`${operation}: ${allowed === null ? "unknown" : allowed ? "yes" : "no"}, ${reason}`);
	}
	return [
		`<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${y + 8}" viewBox="0 0 ${WIDTH} ${y + 8}" role="img">`,
		"<title>The owner of a file</title>",
		`<style>${STYLE}\n</style>`,
		`<rect class="paper" width="${WIDTH}" height="${y + 8}"/>`,
		...parts,
		"</svg>\n",
	].join("\n");
}
