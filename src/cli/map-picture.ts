import type { IdMap, Mapping } from "../index.ts";

type Extent = Readonly<IdMap>;
export type Column = "containerID" | "hostID";

/** An item of a column: an extent, or the number of IDs between two extents, which are not mapped. */
export type Item = { extent: Extent } | { gap: number };

/** The extents of one kind, or of both if they are equal, in the order of each column. */
export interface Picture {
	title: string;
	left: Item[];
	right: Item[];
	/** Both columns have the same order, so that no lines cross. */
	parallel: boolean;
}

export function pictures(mapping: Mapping): Picture[] {
	const { uidMappings, gidMappings } = mapping;
	if (JSON.stringify(uidMappings) === JSON.stringify(gidMappings))
		return [picture("uid and gid", uidMappings)];
	const all = [picture("uid", uidMappings), picture("gid", gidMappings)];
	return all.filter(({ left }) => left.length > 0);
}

function picture(title: string, extents: readonly Extent[]): Picture {
	const byHost = [...extents].sort((a, b) => a.hostID - b.hostID);
	return {
		title,
		left: withGaps(extents, "containerID"),
		right: withGaps(byHost, "hostID"),
		parallel: extents.every((extent, i) => extent === byHost[i]),
	};
}

function withGaps(sorted: readonly Extent[], column: Column): Item[] {
	const items: Item[] = [];
	let next: number | undefined;
	for (const extent of sorted) {
		if (next !== undefined && extent[column] > next) items.push({ gap: extent[column] - next });
		items.push({ extent });
		next = extent[column] + extent.size;
	}
	return items;
}

/** A range as text: `0–65535`, or one number. */
export function rangeOf(extent: Extent, column: Column): string {
	const first = extent[column];
	return extent.size === 1 ? `${first}` : `${first}–${first + extent.size - 1}`;
}

export const HEADINGS = { left: "inside (on disk)", right: "outside (visible)" } as const;
