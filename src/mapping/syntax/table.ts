import { invalidArgument, show } from "../../errors.ts";
import type { Extents } from "../extent.ts";
import { parseColon, printColon } from "./colon.ts";
import { parseIncus, printIncus } from "./incus.ts";
import { parseOci, printOci } from "./oci.ts";
import { type PodmanParent, parsePodman, printPodman } from "./podman.ts";
import { type ContainerMaps, parsePodmanIdmap, printPodmanIdmap } from "./podman-idmap.ts";
import { parseProcPair, printProcPair } from "./proc-pair.ts";
import type { ParsedMaps } from "./scanner.ts";
import { parseMountIdmapped, parseXMountIdmap, printMountIdmapped, printXMountIdmap } from "./spaced.ts";
import { parseSubid, printSubid, type SubidUser } from "./subid.ts";

// A new syntax is added here and in `syntaxes` below.
/** The text forms that `Mapping.parse` reads and `Mapping.toString` writes. */
export type MappingSyntax =
	| "colon"
	| "proc"
	| "x-mount.idmap"
	| "mount-idmapped"
	| "lxc"
	| "podman"
	| "podman-idmap"
	| "incus"
	| "oci"
	| "subid";

/** A `MappingContext` whose mappings are lists. */
export interface ResolvedContext {
	parent: PodmanParent | undefined;
	container: ContainerMaps | undefined;
	user: SubidUser | undefined;
}

interface Syntax {
	/** The form, in one line of at most 62 characters for help texts. */
	form: string;
	/** The program or file that the syntax belongs to, in one line of at most 62 characters for help texts. */
	usedBy: string;
	/** True if `Mapping.parse` tries the syntax on a text for which no syntax is named. */
	isDetected: boolean;
	/** Reads a text, or a list of command arguments. Throws `ERR_USERNS_INVALID_MAPPING`. */
	parse(texts: readonly string[], context: ResolvedContext): ParsedMaps;
	/** Throws `ERR_USERNS_INVALID_MAPPING` if the syntax cannot express the mapping. */
	print(uid: Extents, gid: Extents, context: ResolvedContext): string;
}

/** For a grammar in which a list of arguments means the same as one text with blanks between them. */
function joined(parse: (text: string) => ParsedMaps): Syntax["parse"] {
	return (texts) => parse(texts.join(" "));
}

function words(texts: readonly string[]): string[] {
	return texts.flatMap((text) => text.split(/[ \t\r\n]/)).filter((word) => word !== "");
}

/** Every syntax. The type makes the table complete. */
export const syntaxes: Readonly<Record<MappingSyntax, Syntax>> = {
	colon: {
		form: "[u:|g:|b:]containerID:hostID:size[,…]",
		usedBy: "userns --map",
		isDetected: true,
		parse: (texts) => parseColon(texts.join(",")),
		print: printColon,
	},
	proc: {
		form: "lines of uid_map, an empty line, lines of gid_map",
		usedBy: "/proc/PID/uid_map and gid_map",
		isDetected: true,
		parse: parseProcPair,
		print: printProcPair,
	},
	"x-mount.idmap": {
		form: "[u:|g:|b:]disk:visible:size, separated by blanks",
		usedBy: "mount(8), option X-mount.idmap",
		isDetected: true,
		parse: joined(parseXMountIdmap),
		print: printXMountIdmap,
	},
	"mount-idmapped": {
		form: "b|u|g:disk:visible:size, separated by blanks",
		usedBy: "mount-idmapped --map-mount",
		isDetected: true,
		parse: joined((text) => parseMountIdmapped("mount-idmapped", text)),
		print: printMountIdmapped,
	},
	lxc: {
		form: "b|u|g:container:host:size, separated by blanks",
		usedBy: "lxc-usernsexec -m; the form of lxc.idmap is different",
		isDetected: false, // equal to mount-idmapped
		parse: joined((text) => parseMountIdmapped("lxc", text)),
		print: printMountIdmapped,
	},
	podman: {
		form: "--uidmap=[+ug]container:[@]from[:amount] --gidmap=…",
		usedBy: "podman run --uidmap and --gidmap",
		isDetected: false, // because "0:1" is an extent of one ID in this syntax, and usually a mistake
		parse: (texts, { parent }) => parsePodman(words(texts), parent),
		print: printPodman,
	},
	"podman-idmap": {
		form: "idmap=uids=[@]disk-visible-length#…;gids=…",
		usedBy: "podman run, option idmap of a volume",
		isDetected: true,
		parse: (texts, { container }) => parsePodmanIdmap(texts.join(";"), container),
		print: printPodmanIdmap,
	},
	incus: {
		form: "lines both|uid|gid HOST[-END] CONTAINER[-END]",
		usedBy: "Incus and LXD, raw.idmap",
		isDetected: true,
		parse: (texts) => parseIncus(texts.join("\n")),
		print: printIncus,
	},
	oci: {
		form: 'the JSON {"uidMappings": […], "gidMappings": […]}',
		usedBy: "config.json of the OCI runtime-spec",
		isDetected: true,
		parse: (texts) => parseOci(texts.join("\n")),
		print: printOci,
	},
	subid: {
		form: "lines user:first:count",
		usedBy: "/etc/subuid and /etc/subgid",
		isDetected: false, // because "1000:2100000000:65536" has another meaning in other syntaxes
		parse: (texts, { user }) => parseSubid(texts.join("\n"), user),
		print: (uid, gid, { user }) => printSubid(uid, gid, user),
	},
};

/** The names of all syntaxes, in the order of the table. */
export const syntaxNames: readonly MappingSyntax[] = Object.freeze(Object.keys(syntaxes) as MappingSyntax[]);

export function checkSyntax(syntax: unknown): asserts syntax is MappingSyntax {
	if (typeof syntax !== "string" || !Object.hasOwn(syntaxes, syntax)) {
		throw invalidArgument(
			`unknown mapping syntax ${show(syntax)}`,
			`The syntaxes are: ${syntaxNames.join(", ")}.`,
		);
	}
}
