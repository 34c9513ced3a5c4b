import { describeErrno, show } from "../../../src/errors.ts";
import { fromOci, Mapping, type OciMount } from "../../../src/index.ts";
import { checkAttachOptions } from "../../../src/mount/attach-options.ts";
import { checkMountOptions } from "../../../src/mount/mount-options.ts";
import { checkOverlayOptions } from "../../../src/mount/overlay.ts";
import { checkCreateLater } from "../../../src/namespace/create-options.ts";
import { checkArguments, EXEC_OPTIONS, SPAWN_OPTIONS } from "../../../src/namespace/enter-options.ts";
import { enterRequest } from "../../../src/namespace/enter-request.ts";
import { attempt, must, skeleton, type Target } from "../engine/target.ts";
import { checkAll, checkMapping } from "./mapping.ts";
import { toValue } from "./value.ts";

const WRONG = ["ERR_USERNS_INVALID_ARGUMENT", "ERR_USERNS_INVALID_MAPPING"] as const;
const known = { mapping: Mapping.from("0:100000:65536"), setgroups: "allow" as const };

/** JavaScript callers can pass any value, whatever the types of TypeScript say. */
const calls: readonly ((value: never) => unknown)[] = [
	(value) => checkAll(Mapping.from(value)),
	(value) => checkMountOptions(value),
	(value) => checkOverlayOptions(value),
	(value) => fromOci(value as OciMount),
	(value) => fromOci({ source: "/a", destination: "/b", options: ["rbind", "ridmap"] }, value),
	(value) => checkAttachOptions("attach", "/target", value),
	(value) => checkAttachOptions("attach", value, undefined),
	(value) => checkCreateLater("create", "0:0:1", value),
	(value) => checkArguments("spawn", "sh", value, undefined, SPAWN_OPTIONS),
	(value) => checkArguments("exec", value, [], undefined, EXEC_OPTIONS),
	(value) => checkArguments("spawn", "sh", [], value, SPAWN_OPTIONS),
	(value) => Mapping.parse(value),
	(value) => Mapping.parse("0:1:1", value),
	(value) => Mapping.parse("idmap", "podman-idmap", value),
	(value) => Mapping.identity(value),
	(value) => Mapping.shift(value),
	(value) => known.mapping.uidToHost(value),
	(value) => known.mapping.punch(value, 5),
	(value) => known.mapping.punch(5, 5, value),
	(value) => known.mapping.equals(value),
	(value) => checkMapping(known.mapping.union(value), false),
	(value) => checkMapping(known.mapping.compose(value), false),
	(value) => known.mapping.toString(value),
];

/** The first byte chooses the call, and the others are its value. */
export const options: Target = {
	name: "options",
	words: [
		[214, 2],
		[160, 1],
		[200, 1],
		[208, 0, 100, 10],
		[0, 0],
		[0, 34],
	].map((bytes) => Uint8Array.from(bytes)),
	seeds: calls.map((_, i) => Uint8Array.from([i, 214, 3, 0, 0, 28, 1, 0, 28, 2, 0, 30])),
	run(bytes) {
		const which = (bytes[0] ?? 0) % (calls.length + 1);
		const value = toValue(bytes.subarray(1)) as never;
		const words = show(value);
		must(words.length <= 70, () => `${words.length} characters for a value`);
		if (which === calls.length) {
			must(typeof value !== "number" || describeErrno(value).length > 0, () => "an errno without words");
			const what = () =>
				enterRequest(
					"spawn",
					{ uid: value, groups: value, unshare: value, join: value },
					{ fd: 3, maps: known },
				);
			const read = attempt([...WRONG, "ERR_USERNS_UNMAPPED_ID"], what);
			return "error" in read ? `inside ${skeleton(read.error)}` : "inside";
		}
		const read = attempt(WRONG, () => (calls[which] as (value: never) => unknown)(value));
		return `${which} ${"error" in read ? skeleton(read.error).slice(0, 70) : "taken"}`;
	},
};
