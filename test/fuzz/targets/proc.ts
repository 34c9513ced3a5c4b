import type { IdMap, Mapping } from "../../../src/index.ts";
import { canonical } from "../../../src/mapping/extent.ts";
import { parseProcLines } from "../../../src/mapping/proc.ts";
import { cutAtOwn } from "../../../src/namespace/caller-map.ts";
import { completeMaps, isComplete, parseMaps } from "../../../src/namespace/read-maps.ts";
import { about, attempt, must, skeleton, type Target, toText } from "../engine/target.ts";
import { checkMapping } from "./mapping.ts";

/**
 * As the kernel sees it: the pieces are the extents, and no piece crosses the border of one of the caller's extents.
 */
function checkCut({ uidMappings: asked }: Mapping, own: readonly IdMap[]): string {
	const cut = attempt(["ERR_USERNS_UNMAPPED_ID"], () => cutAtOwn("uid", asked, own));
	const holds = (first: number, last: number) =>
		own.some((one) => first >= one.containerID && last < one.containerID + one.size);
	if ("error" in cut) return skeleton(cut.error);
	for (const { hostID, size } of cut.value) {
		must(holds(hostID, hostID + size - 1), () => `the piece ${hostID}+${size} is in no own extent`);
	}
	const again = canonical(
		"uid",
		cut.value.map((extent) => ({ ...extent })),
	);
	must(JSON.stringify(again) === JSON.stringify(asked), () => `cut into ${JSON.stringify(cut.value)}`);
	return about(cut.value.length);
}

/** /proc/PID/uid_map, gid_map and setgroups, separated by "=": those of a namespace, and those of the caller. */
export const procMaps: Target = {
	name: "proc-maps",
	words: ["         0     100000      65536\n", "=", "allow\n", "deny\n", "4294967295", "\n", " "],
	seeds: [
		"0 0 4294967295\n=0 0 4294967295\n=allow\n",
		"0 1000 1\n1 100000 65536\n=0 100 1\n=deny\n",
		"==",
		"0 4294967295 1\n=0 0 1\n=deny\n",
	],
	run(bytes) {
		const texts = toText(bytes).replaceAll(":", ";").split("=");
		const [uidMap = "", gidMap = "", setgroups = ""] = texts;
		const own = attempt(["ERR_USERNS_INVALID_MAPPING"], () => parseProcLines("gid", gidMap));
		const answer = `${uidMap}:${gidMap}:${setgroups}`; // as nsfs_read_maps() in native/proc/nsfs.c builds it
		const read = attempt(["ERR_USERNS_READ_MAPPING"], () => parseMaps(answer));
		const known = completeMaps(answer);
		if ("error" in read) {
			must(known === undefined, () => "known, and yet unreadable");
			return `${skeleton(read.error)} ${"error" in own ? skeleton(own.error) : ""}`;
		}
		checkMapping(read.value.mapping, false);
		must((known !== undefined) === isComplete(read.value.mapping), () => "known by halves");
		must(
			read.value.setgroups === (setgroups.startsWith("allow") ? "allow" : "deny"),
			() => read.value.setgroups,
		);
		must("value" in own, () => "a mapping of lines that are none");
		return `${checkCut(read.value.mapping, own.value)} ${read.value.setgroups} ${about(own.value.length)}`;
	},
	growing: {
		lines: (n) => Array.from({ length: n }, (_, i) => `${2 * i} ${2 * i} 1\n`).join(""),
		blanks: (n) => `0${"\t".repeat(n)}0${"\t".repeat(n)}x=`,
	},
};
