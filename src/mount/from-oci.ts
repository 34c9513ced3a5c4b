import { checkPath, invalidArgument, show } from "../errors.ts";
import type { IdMap } from "../mapping/extent.ts";
import { Mapping, type MappingInput } from "../mapping/mapping.ts";
import { copyOptions, ownCopy, ownMap, ownValue } from "../options.ts";
import type { AttributeOptions } from "./attributes.ts";
import type { MountIdmappedOptions } from "./mount-options.ts";

/** An entry of `mounts` in an OCI config.json (config.md, "Mounts"). Other fields are ignored. A field that is null is left out. */
export interface OciMount {
	source?: string | null | undefined;
	destination: string;
	type?: string | null | undefined;
	options?: readonly string[] | null | undefined;
	uidMappings?: readonly Readonly<IdMap>[] | null | undefined;
	gidMappings?: readonly Readonly<IdMap>[] | null | undefined;
}

/** The features document of a runtime (features.md of the runtime-spec), as `runc features` prints it. Other fields are ignored. */
export interface OciFeatures {
	linux?:
		| {
				mountExtensions?:
					| { idmap?: { enabled?: boolean | null | undefined } | null | undefined }
					| null
					| undefined;
		  }
		| null
		| undefined;
}

/** Options of {@link fromOci}. */
export interface FromOciOptions {
	/** The mapping of the container's user namespace, for `idmap` and `ridmap` in an entry without mappings. */
	container?: MappingInput | undefined;
	/** The absolute path of the bundle, the directory of the config.json. A relative source is below it. */
	bundle?: string | undefined;
	/** The features document of the runtime that reads the config.json. Throws if this runtime would mount the entry without its map. */
	features?: OciFeatures | undefined;
}

/** The effect of a word of `options`. A word that unsets an attribute sets its default. Later words take precedence. */
type Effect = Partial<Omit<AttributeOptions, "atime">> &
	Pick<MountIdmappedOptions, "recursive"> & {
		idmap?: "root" | "tree";
		/** The word of an `idmap` with a value. */
		value?: string;
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
const INDIRECT = new Set(["idmap", "value", "atime"]);

/**
 * Converts a mount of an OCI config.json to options of {@link mountIdmapped}, by the rules of the runtime-spec. An entry has
 * both kinds of mappings or none. Mappings without `idmap` or `ridmap` apply to the mount itself, not to the mounts below it.
 * `ridmap` with `bind` is `idmap`, because the mounts below are not mounted. `idmap` or `ridmap` without mappings uses
 * `container`; an entry without mappings, `idmap` and `ridmap` is an error. `idmap=uids=…;gids=…`, the form of crun and of podman
 * before 4.4, has the mappings in its value. If several words set one attribute, the last
 * one applies. Attributes apply to all mounts, with or without the `r` of the runtime-spec; a word that unsets one, such as
 * `rw`, keeps that of the source. A relative source is below `bundle`, and is an error without it. A relative destination is below
 * `/`. `target` is the destination inside the container: set `into` or `targetRoot` too.
 * Throws `ERR_USERNS_INVALID_ARGUMENT` for an unknown word, and names it.
 */
export function fromOci(mount: OciMount, options?: FromOciOptions): MountIdmappedOptions {
	const known = ["container", "bundle", "features"];
	const { container, bundle, features } = copyOptions<FromOciOptions>("fromOci", options, known);
	if (typeof mount !== "object" || mount === null || Array.isArray(mount)) {
		throw invalidArgument(`fromOci: the mount must be an object, not ${show(mount)}`);
	}
	const entry = ownCopy(mount);
	const target = targetOf(entry);
	const source = sourceOf(entry, bundle);
	const words = wordsOf(entry);
	const set: Record<string, unknown> = Object.create(null);
	let idmap: Effect["idmap"];
	let value: Effect["value"];
	let atime: Effect["atime"];
	let bind = entry.type === "bind";
	for (const word of words) {
		const effect = effectOf(word);
		bind ||= word === "bind" || word === "rbind";
		if (effect.idmap !== undefined) ({ idmap, value } = effect);
		atime = effect.atime ?? atime;
		for (const [key, each] of Object.entries(effect)) if (!INDIRECT.has(key)) set[key] = each;
	}
	if (!bind) {
		throw invalidArgument(
			`fromOci: the mount at ${show(entry.destination)} is not a bind mount; its type is ${show(entry.type)}`,
			"Give the mount the option bind or rbind: only a bind mount can be ID-mapped.",
		);
	}
	const recursive = set.recursive === true;
	const mapping = mappingFor(entry, idmap, value, container);
	checkFeatures(features, entry);
	for (const [key, each] of Object.entries(set)) if (each === false) delete set[key];
	return {
		source,
		target,
		mapping,
		...set,
		...(recursive && { recursive, recursiveIdmap: idmap === "tree" }),
		...(atime !== undefined && atime !== "default" && { atime }),
	};
}

/** The runtime-spec interprets a relative destination, which is deprecated, as relative to "/". */
function targetOf({ destination }: OciMount): string {
	checkPath("fromOci: the destination", destination);
	if (destination.startsWith("/")) return destination;
	const target = `/${destination}`;
	checkPath("fromOci: the destination", target);
	return target;
}

/** The path is joined and not normalized, because `..` after a symbolic link leads elsewhere. */
function sourceOf({ source, destination }: OciMount, bundle: string | undefined): string {
	if (bundle !== undefined) {
		checkPath("fromOci: bundle", bundle);
		if (!bundle.startsWith("/")) {
			throw invalidArgument(
				`fromOci: bundle must be an absolute path, not ${show(bundle)}`,
				"Give the absolute path of the directory that has the config.json.",
			);
		}
	}
	checkPath("fromOci: the source", source);
	if (source.startsWith("/")) return source;
	if (bundle === undefined) {
		throw invalidArgument(
			`fromOci: the source ${show(source)} of the mount at ${show(destination)} is relative to the bundle, and bundle is not set`,
			"Set bundle to the directory that has the config.json.",
		);
	}
	const path = `${bundle.replace(/\/+$/, "")}/${source}`;
	checkPath("fromOci: the source in the bundle", path);
	return path;
}

/** Throws if the runtime ignores the mappings of a mount: it would then show the IDs on disk. */
function checkFeatures(features: OciFeatures | undefined, { destination }: OciMount): void {
	if (features === undefined) return;
	let value: unknown = features;
	for (const key of ["linux", "mountExtensions", "idmap", "enabled"]) {
		if (typeof value !== "object" || value === null || Array.isArray(value)) {
			if (value === features) {
				throw invalidArgument(
					`fromOci: features must be the features document of a runtime, not ${show(features)}`,
				);
			}
			value = undefined;
			break;
		}
		value = ownValue(value, key);
	}
	if (value === true) return;
	const found = value === false ? "is false" : "is not in its features document";
	throw invalidArgument(
		`fromOci: the runtime would mount ${show(destination)} without its map: linux.mountExtensions.idmap.enabled ${found}`,
		"Use a runtime that supports ID-mapped mounts, such as runc 1.2 or crun 1.9, or leave features out.",
	);
}

function effectOf(word: string): Effect {
	const name = /^(r?idmap)=/.exec(word)?.[1];
	if (name !== undefined) return ownCopy<Effect>({ idmap: name === "idmap" ? "root" : "tree", value: word });
	return ownCopy(Object.hasOwn(EFFECTS, word) ? (EFFECTS[word] as Effect) : unknownOption(word));
}

function wordsOf({ options, destination }: OciMount): readonly string[] {
	if (options === undefined || options === null) return [];
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

function mappingFor(
	mount: OciMount,
	idmap: Effect["idmap"],
	value: Effect["value"],
	container: MappingInput | undefined,
): Mapping {
	const { uidMappings, gidMappings } = mount;
	const where = `the mount at ${show(mount.destination)}`;
	const has = (list: unknown) =>
		list !== undefined && list !== null && !(Array.isArray(list) && list.length === 0);
	if (has(uidMappings) !== has(gidMappings)) {
		const [given, lacks] = has(uidMappings) ? ["uidMappings", "gidMappings"] : ["gidMappings", "uidMappings"];
		throw invalidArgument(
			`fromOci: ${where} has ${given} but no ${lacks}`,
			"Give both kinds or neither, as the runtime-spec requires.",
		);
	}
	if (has(uidMappings)) {
		if (value === undefined) return Mapping.from({ uidMappings, gidMappings });
		throw invalidArgument(
			`fromOci: ${where} has mappings in two places: uidMappings and gidMappings, and the option ${show(value)}`,
			"Remove the value of the option.",
		);
	}
	if (value !== undefined) return Mapping.parse(value, "podman-idmap", { container });
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
