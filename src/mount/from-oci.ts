import { invalidArgument, show } from "../errors.ts";
import { Mapping, type MappingInput } from "../mapping/mapping.ts";
import { copyOptions, ownCopy, ownMap } from "../options.ts";
import { checkPath } from "./attach-options.ts";
import type { AttributeOptions } from "./attributes.ts";
import type { MountIdmappedOptions } from "./mount-options.ts";

/** A mount as the OCI runtime-spec writes it (config.md, "Mounts"); what else an entry has is none of ours. */
export interface OciMount {
	source?: string | undefined;
	destination: string;
	type?: string | undefined;
	options?: readonly string[] | undefined;
	uidMappings?: readonly { containerID: number; hostID: number; size: number }[] | undefined;
	gidMappings?: readonly { containerID: number; hostID: number; size: number }[] | undefined;
}

export interface FromOciOptions {
	/** The mapping of the container's user namespace, for `idmap` and `ridmap` in an entry without mappings of its own. */
	container?: MappingInput | undefined;
}

/** What a word of `options` sets. Those that take something away again come with the default, and later words win. */
type Effect = Partial<Omit<AttributeOptions, "atime">> &
	Pick<MountIdmappedOptions, "recursive"> & {
		idmap?: "root" | "tree";
		atime?: AttributeOptions["atime"] | "default";
	};

/**
 * The runtime-spec has each of these with an r before it too, for the mounts below; here they always reach those that are
 * taken along.
 */
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

/** The keys that only decide. */
const DECIDING = new Set(["idmap", "atime"]);

/**
 * Turns a mount of an OCI config.json into options of {@link mountIdmapped}, by the rules of the runtime-spec: both
 * kinds of mappings or an error; mappings without `idmap` or `ridmap` are for the mount itself and not for those below it;
 * `ridmap` with `bind` is `idmap`, since nothing from below comes along; `idmap` or `ridmap` without mappings takes the container's; with none of that it is an error. The last word on
 * something counts. Attributes reach every mount that is taken along, with or without the r of the runtime-spec; a word
 * that takes one away, such as `rw`, leaves the mount as the source's is. `target` is the destination as it stands,
 * inside the container: give `into` or `targetRoot` with it.
 * Throws `ERR_USERNS_INVALID_ARGUMENT`, naming the option, for what it does not know.
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
	const wanted: Record<string, unknown> = Object.create(null);
	let idmap: Effect["idmap"];
	let atime: Effect["atime"];
	let bind = entry.type === "bind";
	for (const word of words) {
		const effect = ownCopy(Object.hasOwn(EFFECTS, word) ? (EFFECTS[word] as Effect) : unknownOption(word));
		bind ||= word === "bind" || word === "rbind";
		idmap = effect.idmap ?? idmap;
		atime = effect.atime ?? atime;
		for (const [key, value] of Object.entries(effect)) if (!DECIDING.has(key)) wanted[key] = value;
	}
	if (!bind) {
		throw invalidArgument(
			`fromOci: the mount at ${show(destination)} is no bind mount, but one of type ${show(entry.type)}`,
			"An ID-mapped mount shows what is there already: its options have bind or rbind.",
		);
	}
	const recursive = wanted.recursive === true;
	const mapping = mappingFor(entry, idmap, container);
	for (const [key, value] of Object.entries(wanted)) if (value === false) delete wanted[key];
	return {
		source,
		target: destination,
		mapping,
		...wanted,
		...(recursive && { recursive, recursiveIdmap: idmap === "tree" }),
		...(atime !== undefined && atime !== "default" && { atime }),
	};
}

function wordsOf({ options = [], destination }: OciMount): readonly string[] {
	const wrong = `fromOci: the options of the mount at ${show(destination)} must be a list of texts`;
	if (!Array.isArray(options)) throw invalidArgument(wrong);
	return ownMap(options, (word) => {
		if (typeof word !== "string") throw invalidArgument(wrong);
		return word;
	});
}

function unknownOption(word: string): never {
	throw invalidArgument(
		`fromOci: there is no option ${show(word)} for an ID-mapped mount`,
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
			"The runtime-spec takes both kinds or none.",
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
			"It is an ordinary mount: mount it without a map.",
		);
	}
	if (container === undefined) {
		throw invalidArgument(
			`fromOci: ${where} has ${idmap === "tree" ? "ridmap" : "idmap"} without mappings, and the container's are not given`,
			"Give container: the mappings of linux.uidMappings and linux.gidMappings.",
		);
	}
	return Mapping.from(container);
}
