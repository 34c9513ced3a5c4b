import { checkPath, invalidArgument, show } from "../errors.ts";
import { Mapping, type MappingInput } from "../mapping/mapping.ts";
import { copyOptions, ownCopy, ownMap } from "../options.ts";
import type { AttributeOptions } from "./attributes.ts";
import type { MountIdmappedOptions } from "./mount-options.ts";

/** An entry of `mounts` in an OCI config.json (config.md, "Mounts"). Other fields are ignored. */
export interface OciMount {
	source?: string | undefined;
	destination: string;
	type?: string | undefined;
	options?: readonly string[] | undefined;
	uidMappings?: readonly { containerID: number; hostID: number; size: number }[] | undefined;
	gidMappings?: readonly { containerID: number; hostID: number; size: number }[] | undefined;
}

/** Options of {@link fromOci}. */
export interface FromOciOptions {
	/** The mapping of the container's user namespace, for `idmap` and `ridmap` in an entry without mappings. */
	container?: MappingInput | undefined;
}

/** The effect of a word of `options`. A word that unsets an attribute sets its default. Later words take precedence. */
type Effect = Partial<Omit<AttributeOptions, "atime">> &
	Pick<MountIdmappedOptions, "recursive"> & {
		idmap?: "root" | "tree";
		atime?: AttributeOptions["atime"] | "default";
	};

/** In the runtime-spec each word with an `r` applies to the mounts below too. Here each word applies to all mounts. */
const ATTRIBUTES: Record<string, Effect> = {
	ro: { readonly: true },
	rw: { readonly: false },
	nosuid: { nosuid: true },
	suid: { nosuid: false },
	nodev: { nodev: true },
	dev: { nodev: false },
	noexec: { noexec: true },
	exec: { noexec: false },
	nosymfollow: { nosymfollow: true },
	symfollow: { nosymfollow: false },
	nodiratime: { nodiratime: true },
	diratime: { nodiratime: false },
	noatime: { atime: "noatime" },
	relatime: { atime: "relatime" },
	strictatime: { atime: "strictatime" },
	atime: { atime: "default" },
	norelatime: { atime: "default" },
	nostrictatime: { atime: "default" },
	private: { propagation: "private" },
	shared: { propagation: "shared" },
	slave: { propagation: "slave" },
	unbindable: { propagation: "unbindable" },
};

const EFFECTS: Record<string, Effect> = {
	bind: { recursive: false },
	rbind: { recursive: true },
	idmap: { idmap: "root" },
	ridmap: { idmap: "tree" },
	defaults: {},
	...ATTRIBUTES,
	...Object.fromEntries(Object.entries(ATTRIBUTES).map(([word, effect]) => [`r${word}`, effect])),
};

/** The effects that are not options of mountIdmapped() themselves. */
const INDIRECT = new Set(["idmap", "atime"]);

/**
 * Converts a mount of an OCI config.json to options of {@link mountIdmapped}, by the rules of the runtime-spec. An entry has
 * both kinds of mappings or none. Mappings without `idmap` or `ridmap` apply to the mount itself, not to the mounts below it.
 * `ridmap` with `bind` is `idmap`, because the mounts below are not mounted. `idmap` or `ridmap` without mappings uses
 * `container`; an entry without mappings, `idmap` and `ridmap` is an error. If several words set one attribute, the last
 * one applies. Attributes apply to all mounts, with or without the `r` of the runtime-spec; a word that unsets one, such as
 * `rw`, keeps that of the source. `target` is the destination inside the container: set `into` or `targetRoot` too.
 * Throws `ERR_USERNS_INVALID_ARGUMENT` for an unknown word, and names it.
 */
export function fromOci(mount: OciMount, options?: FromOciOptions): MountIdmappedOptions {
	const { container } = copyOptions<FromOciOptions>("fromOci", options, ["container"]);
	if (typeof mount !== "object" || mount === null || Array.isArray(mount)) {
		throw invalidArgument(`fromOci: the mount must be an object, not ${show(mount)}`);
	}
	const entry = ownCopy(mount);
	const { source, destination } = entry;
	checkPath("fromOci: the destination", destination);
	if (!destination.startsWith("/")) {
		throw invalidArgument(`fromOci: the destination must be an absolute path, not ${show(destination)}`);
	}
	checkPath("fromOci: the source", source);
	const words = wordsOf(entry);
	const set: Record<string, unknown> = Object.create(null);
	let idmap: Effect["idmap"];
	let atime: Effect["atime"];
	let bind = entry.type === "bind";
	for (const word of words) {
		const effect = ownCopy(Object.hasOwn(EFFECTS, word) ? (EFFECTS[word] as Effect) : unknownOption(word));
		bind ||= word === "bind" || word === "rbind";
		idmap = effect.idmap ?? idmap;
		atime = effect.atime ?? atime;
		for (const [key, value] of Object.entries(effect)) if (!INDIRECT.has(key)) set[key] = value;
	}
	if (!bind) {
		throw invalidArgument(
			`fromOci: the mount at ${show(destination)} is not a bind mount; its type is ${show(entry.type)}`,
			"Give the mount the option bind or rbind: only a bind mount can be ID-mapped.",
		);
	}
	const recursive = set.recursive === true;
	const mapping = mappingFor(entry, idmap, container);
	for (const [key, value] of Object.entries(set)) if (value === false) delete set[key];
	return {
		source,
		target: destination,
		mapping,
		...set,
		...(recursive && { recursive, recursiveIdmap: idmap === "tree" }),
		...(atime !== undefined && atime !== "default" && { atime }),
	};
}

function wordsOf({ options = [], destination }: OciMount): readonly string[] {
	const wrong = `fromOci: the options of the mount at ${show(destination)} must be an array of strings`;
	if (!Array.isArray(options)) throw invalidArgument(wrong);
	return ownMap(options, (word) => {
		if (typeof word !== "string") throw invalidArgument(wrong);
		return word;
	});
}

function unknownOption(word: string): never {
	throw invalidArgument(
		`fromOci: unknown option ${show(word)} for an ID-mapped mount`,
		`The options are: ${Object.keys(EFFECTS).join(", ")}.`,
	);
}

function mappingFor(mount: OciMount, idmap: Effect["idmap"], container: MappingInput | undefined): Mapping {
	const { uidMappings, gidMappings } = mount;
	const where = `the mount at ${show(mount.destination)}`;
	const has = (list: unknown) => list !== undefined && !(Array.isArray(list) && list.length === 0);
	if (has(uidMappings) !== has(gidMappings)) {
		const [given, lacks] = has(uidMappings) ? ["uidMappings", "gidMappings"] : ["gidMappings", "uidMappings"];
		throw invalidArgument(
			`fromOci: ${where} has ${given} but no ${lacks}`,
			"Give both kinds or neither, as the runtime-spec requires.",
		);
	}
	if (has(uidMappings)) {
		return Mapping.from({
			uidMappings: uidMappings as { containerID: number; hostID: number; size: number }[],
			gidMappings: gidMappings as { containerID: number; hostID: number; size: number }[],
		});
	}
	if (idmap === undefined) {
		throw invalidArgument(
			`fromOci: ${where} has neither mappings nor idmap or ridmap`,
			"Mount it without a map: it is an ordinary bind mount.",
		);
	}
	if (container === undefined) {
		throw invalidArgument(
			`fromOci: ${where} has ${idmap === "tree" ? "ridmap" : "idmap"} without mappings, and container is not set`,
			"Set container to the mapping of linux.uidMappings and linux.gidMappings.",
		);
	}
	return Mapping.from(container);
}
