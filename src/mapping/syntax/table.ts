import { invalidArgument, show } from "../../errors.ts";
import type { Extents } from "../extent.ts";
import { parseColon, printColon } from "./colon.ts";
import { parseIncus, printIncus } from "./incus.ts";
import { type ObjectSyntax, parseIncusJson, parseObject, printIncusJson, printObject } from "./json.ts";
import { parseLxcConf, printLxcConf } from "./lxc-conf.ts";
import { parseMapUsers, printMapUsers } from "./map-users.ts";
import { parseNewuidmap, printNewuidmap } from "./newuidmap.ts";
import { type PodmanParent, parsePodman, printPodman } from "./podman.ts";
import { type ContainerMaps, parsePodmanIdmap, printPodmanIdmap } from "./podman-idmap.ts";
import { parseProcPair, printProcPair } from "./proc-pair.ts";
import { parseQuadlet, printQuadlet } from "./quadlet.ts";
import type { IdOfName, ParsedMaps } from "./scanner.ts";
import { parseMountIdmapped, parseXMountIdmap, printMountIdmapped, printXMountIdmap } from "./spaced.ts";
import { parseSubid, printSubid, type SubidUser } from "./subid.ts";

// A new syntax is added here and in `syntaxes` below.
/** The text forms that `Mapping.parse` reads and `Mapping.toString` writes. */
export type MappingSyntax =
	| "colon"
	| "proc"
	| "newuidmap"
	| "x-mount.idmap"
	| "map-users"
	| "mount-idmapped"
	| "lxc"
	| "lxc.conf"
	| "oci"
	| "cri"
	| "podman"
	| "podman-idmap"
	| "podman-inspect"
	| "podman-info"
	| "quadlet"
	| "incus"
	| "incus-json"
	| "subid";

/** A `MappingContext` whose mappings are lists. */
export interface ResolvedContext {
	parent: PodmanParent | undefined;
	container: ContainerMaps | undefined;
	user: SubidUser | undefined;
	names: IdOfName | undefined;
	skipOtherLines: boolean;
}

interface Syntax {
	/** The form, in one line of at most 62 characters for help texts. */
	form: string;
	/** The program or file that the syntax belongs to, in one line of at most 62 characters for help texts. */
	usedBy: string;
	/** The texts on which `Mapping.parse` tries the syntax if none is named: all, none, or those that begin in a way. */
	detected: "always" | "never" | RegExp;
	/** Reads a text, or a list of command arguments. Throws `ERR_USERNS_INVALID_MAPPING`. */
	parse(texts: readonly string[], context: ResolvedContext): ParsedMaps;
	/** Throws `ERR_USERNS_INVALID_MAPPING` if the syntax cannot express the mapping. */
	print(uid: Extents, gid: Extents, context: ResolvedContext): string;
}

/** For a grammar in which a list of arguments means the same as one text with blanks between them. */
function joined(parse: (text: string, context: ResolvedContext) => ParsedMaps): Syntax["parse"] {
	return (texts, context) => parse(texts.join(" "), context);
}

/** For a grammar of lines, and for JSON. */
function lines(parse: (text: string, context: ResolvedContext) => ParsedMaps): Syntax["parse"] {
	return (texts, context) => parse(texts.join("\n"), context);
}

function words(texts: readonly string[]): string[] {
	return texts.flatMap((text) => text.split(/[ \t\r\n]/)).filter((word) => word !== "");
}

/** Every syntax. The type makes the table complete. */
export const syntaxes: Readonly<Record<MappingSyntax, Syntax>> = {
	colon: {
		form: "[u:|g:|b:]containerID:hostID:size[,…]",
		usedBy: "userns --map",
		detected: "always",
		parse: (texts, { names }) => parseColon(texts.join(","), names),
		print: printColon,
	},
	proc: {
		form: "lines of uid_map, an empty line, lines of gid_map",
		usedBy: "/proc/PID/uid_map and gid_map",
		detected: "always",
		parse: parseProcPair,
		print: printProcPair,
	},
	newuidmap: {
		form: "inside outside count …, or lines newuidmap|newgidmap PID …",
		usedBy: "newuidmap(1) and newgidmap(1)",
		detected: "always",
		parse: (texts, { names }) => parseNewuidmap(texts, names),
		print: printNewuidmap,
	},
	"x-mount.idmap": {
		form: "[u:|g:|b:]disk:visible:size, separated by blanks",
		usedBy: "mount(8), option X-mount.idmap",
		detected: "always",
		parse: joined((text, { names }) => parseXMountIdmap(text, names)),
		print: printXMountIdmap,
	},
	"map-users": {
		form: "--map-users=inside:outside:count --map-groups=…",
		usedBy: "mount(8) and unshare(1)",
		detected: "always",
		parse: joined((text, { names }) => parseMapUsers(text, names)),
		print: printMapUsers,
	},
	"mount-idmapped": {
		form: "[--map-mount=]b|u|g:disk:visible:size, separated by blanks",
		usedBy: "mount-idmapped --map-mount",
		detected: "always",
		parse: joined((text, { names }) => parseMountIdmapped("mount-idmapped", text, names)),
		print: printMountIdmapped,
	},
	lxc: {
		form: "[-m ]b|u|g:container:host:size, separated by blanks",
		usedBy: "lxc-usernsexec -m",
		detected: /^ *-m/, // otherwise equal to mount-idmapped
		parse: joined((text, { names }) => parseMountIdmapped("lxc", text, names)),
		print: printMountIdmapped,
	},
	"lxc.conf": {
		form: "lines lxc.idmap = u|g CONTAINER HOST COUNT",
		usedBy: "lxc.container.conf(5); with a colon, Proxmox VE",
		detected: "always",
		parse: lines((text, { skipOtherLines, names }) => parseLxcConf(text, skipOtherLines, names)),
		print: printLxcConf,
	},
	oci: json("oci", '{"uidMappings": […], "gidMappings": […]}', "config.json of the OCI runtime-spec"),
	cri: json("cri", '{"uids": […], "gids": […]}', "the CRI of Kubernetes, userns_options"),
	podman: {
		form: "--uidmap=[+ug]container:[@]from[:amount] --gidmap=…",
		usedBy: "podman run --uidmap and --gidmap",
		detected: /^\s*--[ug]idmap/, // "0:1" alone is an extent of one ID in this syntax, and usually a mistake
		parse: (texts, { parent }) => parsePodman(words(texts), parent),
		print: printPodman,
	},
	"podman-idmap": {
		form: "idmap=uids=[@]disk-visible-length#…;gids=…",
		usedBy: "podman run, option idmap of a volume",
		detected: "always",
		parse: (texts, { container }) => parsePodmanIdmap(texts.join(";"), container),
		print: printPodmanIdmap,
	},
	"podman-inspect": json(
		"podman-inspect",
		'{"UidMap": ["…"], "GidMap": […]}',
		"podman inspect, HostConfig.IDMappings",
	),
	"podman-info": json("podman-info", '{"uidmap": […], "gidmap": […]}', "podman info, host.idMappings"),
	quadlet: {
		form: "lines UIDMap=[+ug]container:[@]from[:amount], GIDMap=…",
		usedBy: "podman-systemd.unit(5)",
		detected: "always",
		parse: lines((text, { parent, skipOtherLines }) => parseQuadlet(text, parent, skipOtherLines)),
		print: printQuadlet,
	},
	incus: {
		form: "lines both|uid|gid HOST[-END] CONTAINER[-END]",
		usedBy: "Incus and LXD, raw.idmap",
		detected: "always",
		parse: lines(parseIncus),
		print: printIncus,
	},
	"incus-json": {
		form: '[{"Isuid", "Isgid", "Hostid", "Nsid", "Maprange"}, …]',
		usedBy: "Incus and LXD, volatile.idmap.current",
		detected: "always",
		parse: lines(parseIncusJson),
		print: printIncusJson,
	},
	subid: {
		form: "lines user:first:count",
		usedBy: "/etc/subuid and /etc/subgid",
		detected: "never", // because "1000:2100000000:65536" has another meaning in other syntaxes
		parse: lines((text, { user }) => parseSubid(text, user)),
		print: (uid, gid, { user }) => printSubid(uid, gid, user),
	},
};

function json(syntax: ObjectSyntax, form: string, usedBy: string): Syntax {
	return {
		form,
		usedBy,
		detected: "always",
		parse: lines((text) => parseObject(syntax, text)),
		print: (uid, gid) => printObject(syntax, uid, gid),
	};
}

/** True if `Mapping.parse` tries the syntax on a text for which none is named. */
export function isDetected(syntax: MappingSyntax, text: string): boolean {
	const { detected } = syntaxes[syntax];
	return typeof detected === "string" ? detected === "always" : detected.test(text);
}

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
