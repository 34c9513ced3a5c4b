import { fromOci, Mapping, type OciMount } from "../../../src/index.ts";
import { checkMountOptions } from "../../../src/mount/mount-options.ts";
import { attempt, must, skeleton, type Target, toText } from "../engine/target.ts";
import { checkAll } from "./mapping.ts";

const WRONG = ["ERR_USERNS_INVALID_ARGUMENT", "ERR_USERNS_INVALID_MAPPING"] as const;
const LIST = '[{"containerID":0,"hostID":100000,"size":65536}]';

/** The mounts of a container's config.json, which comes with the container's image or bundle. */
export const ociMounts: Target = {
	name: "oci-mount",
	words: [
		...'{ } [ ] , : null true 1 "" "/" "/a" "bind" "rbind" "idmap" "ridmap" "ro" "rro" "rw"'.split(" "),
		...'"noatime" "ratime" "shared" "defaults" "idmap=uids=0-1-2;gids=0-1-2" "ridmap=uids=@0-1-2" "a" "__proto__" "constructor" "toString"'.split(
			" ",
		),
		...["source", "destination", "type", "options", "uidMappings", "gidMappings", "__proto__"].map(
			(key) => `"${key}":`,
		),
		LIST,
	],
	seeds: [
		'{"source":"/data","destination":"/mnt","type":"bind","options":["rbind","ridmap","ro"]}',
		`{"source":"/d","destination":"/m","options":["bind","idmap","nosuid","rnodev","noatime","atime","rw"],"uidMappings":${LIST},"gidMappings":${LIST}}`,
		`{"source":"/d","destination":"/m","options":["rbind","slave","strictatime"],"uidMappings":${LIST},"gidMappings":${LIST}}`,
		'{"source":"d","destination":"m","options":["rbind","idmap=uids=1000-0-1;gids=100-0-1"],"uidMappings":null}',
		`{"source":"/d","destination":"/m","type":"tmpfs","options":["size=64k"],"uidMappings":${LIST},"gidMappings":[]}`,
	],
	run(bytes) {
		let mount: OciMount;
		try {
			mount = JSON.parse(toText(bytes)) as OciMount;
		} catch {
			return "no JSON";
		}
		const container = bytes.length % 3 === 0 ? undefined : Mapping.from("0:100000:65536");
		const bundle = bytes.length % 2 === 0 ? undefined : "/bundle";
		const read = attempt(WRONG, () => fromOci(mount, { container, bundle }));
		if ("error" in read) return skeleton(read.error);
		// The result is accepted by mountIdmapped, for the files that the entry names.
		const options = read.value;
		const attributes = attempt(WRONG, () => checkMountOptions({ ...options, targetRoot: "/root" }));
		must(
			"value" in attributes,
			() => `mountIdmapped refuses it: ${"error" in attributes && attributes.error.message}`,
		);
		const below = (place: string, path: string) => (path.startsWith("/") ? path : `${place}/${path}`);
		const source = below("/bundle", mount.source as string);
		must(options.source === source && options.target === below("", mount.destination), () => "another path");
		checkAll(Mapping.from(options.mapping as Mapping));
		const { set, clear, propagation, recursive, recursiveIdmap } = attributes.value;
		must(recursive || !recursiveIdmap, () => "maps what is not taken along");
		return `${set} ${clear} ${propagation} ${recursive} ${recursiveIdmap}`;
	},
	growing: {
		options: (n) => `{"source":"/d","destination":"/m","options":["rbind","ridmap"${',"ro"'.repeat(n)}]}`,
		depth: (n) => `{"options":${"[".repeat(n)}`,
		path: (n) => `{"source":"/d","destination":"/${"m".repeat(n)}"}`,
	},
};
