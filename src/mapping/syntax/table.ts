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

/** What a text can refer to beside itself, resolved for the grammars. */
export interface ResolvedContext {
	parent: PodmanParent | undefined;
	container: ContainerMaps | undefined;
	user: SubidUser | undefined;
}

interface Syntax {
	/** The form, in one line. */
	form: string;
	/** True when a text says by itself what it means, so that it may be recognised. */
	recognised: boolean;
	parse(texts: readonly string[], context: ResolvedContext): ParsedMaps;
	print(uid: Extents, gid: Extents, context: ResolvedContext): string;
}

/** For grammars in which a list of arguments is the same as one text with blanks between them. */
function joined(parse: (text: string) => ParsedMaps): Syntax["parse"] {
	return (texts) => parse(texts.join(" "));
}

function words(texts: readonly string[]): string[] {
	return texts.flatMap((text) => text.split(/[ \t\r\n]/)).filter((word) => word !== "");
}

/** Every grammar that is read and written: one line each. */
export const syntaxes = {
	colon: {
		form: "[u:|g:|b:]containerID:hostID:size[,…]",
		recognised: true,
		parse: (texts) => parseColon(texts.join(",")),
		print: printColon,
	},
	proc: {
		form: "lines of uid_map, an empty line, lines of gid_map",
		recognised: true,
		parse: parseProcPair,
		print: printProcPair,
	},
	"x-mount.idmap": {
		form: "[u:|g:|b:]disk:visible:size, separated by blanks",
		recognised: true,
		parse: joined(parseXMountIdmap),
		print: printXMountIdmap,
	},
	"mount-idmapped": {
		form: "b|u|g:disk:visible:size, separated by blanks",
		recognised: true,
		parse: joined((text) => parseMountIdmapped("mount-idmapped", text)),
		print: printMountIdmapped,
	},
	lxc: {
		form: "b|u|g:container:host:size, separated by blanks",
		recognised: false, // the same as mount-idmapped
		parse: joined((text) => parseMountIdmapped("lxc", text)),
		print: printMountIdmapped,
	},
	podman: {
		form: "--uidmap=[+ug]container:[@]from[:amount] --gidmap=…",
		recognised: false, // "0:1" would be an extent of one ID, and mostly is a mistake
		parse: (texts, { parent }) => parsePodman(words(texts), parent),
		print: printPodman,
	},
	"podman-idmap": {
		form: "idmap=uids=[@]disk-visible-length#…;gids=…",
		recognised: true,
		parse: (texts, { container }) => parsePodmanIdmap(texts.join(";"), container),
		print: printPodmanIdmap,
	},
	incus: {
		form: "lines both|uid|gid HOST[-END] CONTAINER[-END]",
		recognised: true,
		parse: (texts) => parseIncus(texts.join("\n")),
		print: printIncus,
	},
	oci: {
		form: 'the JSON {"uidMappings": […], "gidMappings": […]}',
		recognised: true,
		parse: (texts) => parseOci(texts.join("\n")),
		print: printOci,
	},
	subid: {
		form: "lines user:first:count",
		recognised: false, // "1000:2100000000:65536" is a mapping in other grammars, with another meaning
		parse: (texts, { user }) => parseSubid(texts.join("\n"), user),
		print: (uid, gid, { user }) => printSubid(uid, gid, user),
	},
} satisfies Record<string, Syntax> as Record<
	| "colon"
	| "proc"
	| "x-mount.idmap"
	| "mount-idmapped"
	| "lxc"
	| "podman"
	| "podman-idmap"
	| "incus"
	| "oci"
	| "subid",
	Syntax
>;

/** The text forms that `Mapping.parse` reads and `toString` writes. */
export type MappingSyntax = keyof typeof syntaxes;

export function checkSyntax(syntax: unknown): asserts syntax is MappingSyntax {
	if (typeof syntax !== "string" || !Object.hasOwn(syntaxes, syntax)) {
		throw invalidArgument(
			`there is no mapping syntax ${show(syntax)}`,
			`The syntaxes are: ${Object.keys(syntaxes).join(", ")}.`,
		);
	}
}
