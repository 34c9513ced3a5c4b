import { Mapping, type MappingContext, type MappingSyntax, mappingSyntaxes } from "../../../src/index.ts";
import { about, attempt, must, skeleton, type Target, toText } from "../engine/target.ts";

export const INVALID = ["ERR_USERNS_INVALID_MAPPING"] as const;
export const NAMES = Object.keys(mappingSyntaxes) as MappingSyntax[];

/** The rules of the kernel and of the canonical form, written again and not taken from the code under test. */
export function checkMapping(mapping: Mapping, limits = true): void {
	for (const extents of [mapping.uidMappings, mapping.gidMappings]) {
		must(Object.isFrozen(extents), () => "extents that can be changed");
		let end = -1;
		let hostEnd = -1;
		let text = 0;
		const hosts: [number, number][] = [];
		for (const extent of extents) {
			const { containerID, hostID, size } = extent;
			must(Object.isFrozen(extent), () => "an extent that can be changed");
			must(Object.keys(extent).join() === "containerID,hostID,size", () => Object.keys(extent).join());
			for (const id of [containerID, hostID, size]) {
				must(Number.isInteger(id) && id >= 0 && !Object.is(id, -0), () => `the number ${id}`);
			}
			must(
				size > 0 && containerID + size <= 2 ** 32 - 1 && hostID + size <= 2 ** 32 - 1,
				() => "an ID too large",
			);
			must(containerID >= end, () => "not sorted, or an overlap");
			must(containerID !== end || hostID !== hostEnd, () => "two extents that are one");
			end = containerID + size;
			hostEnd = hostID + size;
			hosts.push([hostID, hostEnd]);
			text += `${containerID} ${hostID} ${size}\n`.length;
		}
		hosts.sort((a, b) => a[0] - b[0]);
		for (let i = 1; i < hosts.length; i++) {
			must((hosts[i] as [number, number])[0] >= (hosts[i - 1] as [number, number])[1], () => "hosts overlap");
		}
		must(!limits || (extents.length <= 340 && text <= 4096), () => "more than the kernel takes");
	}
}

/** What a syntax cannot express. */
function isInexpressible(syntax: MappingSyntax, { uidMappings, gidMappings }: Mapping): boolean {
	if (syntax === "oci" || syntax === "podman-idmap")
		return uidMappings.length === 0 || gidMappings.length === 0;
	if (syntax !== "subid") return false;
	let next = 0;
	for (const { containerID, size } of uidMappings) {
		if (containerID !== next) return true;
		next += size;
	}
	return JSON.stringify(uidMappings) !== JSON.stringify(gidMappings);
}

const USER = { name: "alice", uid: 1000 };

/** Asserts that every syntax reads back what it printed, or refuses to print it. */
function checkPrinting(mapping: Mapping, syntax: MappingSyntax): void {
	const context = { user: USER };
	const printed = attempt(INVALID, () => mapping.toString(syntax, context));
	must("error" in printed === isInexpressible(syntax, mapping), () => `${syntax}: printing ${mapping.id}`);
	if ("error" in printed) return;
	const again = Mapping.parse(printed.value, syntax, context);
	must(
		again.id === mapping.id,
		() => `${syntax}: ${mapping.id} is printed as ${printed.value}, which is ${again.id}`,
	);
}

export function checkAll(mapping: Mapping): void {
	checkMapping(mapping);
	must(Mapping.from(mapping.toJSON()).id === mapping.id, () => "another mapping from its JSON");
	must(
		Mapping.fromProc(mapping.procText("uid"), mapping.procText("gid")).id === mapping.id,
		() => "procText",
	);
	const inverse = mapping.invert();
	checkMapping(inverse, false);
	must(inverse.compose(mapping).isIdentity, () => "not the inverse");
	must(mapping.contains(mapping), () => "does not contain itself");
	for (const syntax of NAMES) checkPrinting(mapping, syntax);
}

/**
 * U+001E separates texts. The text before U+001D is the mapping that the other texts refer to, and U+001C before them means that lines of
 * other settings are skipped.
 */
function split(text: string): { texts: string[]; context: MappingContext } {
	const skipOtherLines = text.startsWith("\x1c");
	const at = text.indexOf("\x1d");
	const texts = text.slice(Math.max(at + 1, skipOtherLines ? 1 : 0)).split("\x1e");
	if (at < 0) return { texts, context: skipOtherLines ? { skipOtherLines } : {} };
	const around = attempt(INVALID, () => Mapping.parse(text.slice(0, at), "colon"));
	if ("error" in around) return { texts, context: { user: USER } };
	const rootless = text.length % 2 === 0;
	return { texts, context: { parent: around.value, container: around.value, rootless, user: USER } };
}

/** The rules of the colon syntax, in another way than the scanner's. */
const COLON =
	/^(?:[ugb]:)?(?:0|[1-9]\d*)(?::(?:0|[1-9]\d*)){2}(?:,(?:[ugb]:)?(?:0|[1-9]\d*)(?::(?:0|[1-9]\d*)){2})*$/;

export function target(syntax: MappingSyntax, rest: Pick<Target, "words" | "seeds" | "growing">): Target {
	return {
		name: syntax,
		...rest,
		run(bytes) {
			const { texts, context } = split(toText(bytes));
			const parsed = attempt(INVALID, () => Mapping.parse(texts, syntax, context));
			if ("error" in parsed) return skeleton(parsed.error);
			const mapping = parsed.value;
			if (syntax === "colon") must(COLON.test(texts.join(",")), () => `taken: ${mapping.id}`);
			checkAll(mapping);
			return `mapping ${about(mapping.uidMappings.length)} ${about(mapping.gidMappings.length)}`;
		},
	};
}
