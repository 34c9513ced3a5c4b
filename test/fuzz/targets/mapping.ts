import { Mapping, type MappingContext, type MappingSyntax, mappingSyntaxes } from "../../../src/index.ts";
import { syntaxes } from "../../../src/mapping/syntax/table.ts";
import { about, attempt, must, skeleton, type Target, toText } from "../engine/target.ts";

const INVALID = ["ERR_USERNS_INVALID_MAPPING"] as const;
const NAMES = Object.keys(mappingSyntaxes) as MappingSyntax[];

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

/** U+001E separates texts. The text before U+001D is the mapping that the other texts refer to. */
function split(text: string): { texts: string[]; context: MappingContext } {
	const at = text.indexOf("\x1d");
	const texts = text.slice(at + 1).split("\x1e");
	if (at < 0) return { texts, context: {} };
	const around = attempt(INVALID, () => Mapping.parse(text.slice(0, at), "colon"));
	if ("error" in around) return { texts, context: { user: USER } };
	const rootless = text.length % 2 === 0;
	return { texts, context: { parent: around.value, container: around.value, rootless, user: USER } };
}

/** The rules of the colon syntax, in another way than the scanner's. */
const COLON =
	/^(?:[ugb]:)?(?:0|[1-9]\d*)(?::(?:0|[1-9]\d*)){2}(?:,(?:[ugb]:)?(?:0|[1-9]\d*)(?::(?:0|[1-9]\d*)){2})*$/;

function target(syntax: MappingSyntax, rest: Pick<Target, "words" | "seeds" | "growing">): Target {
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

const triples =
	(separator: string, between: string, before = "") =>
	(n: number) =>
		Array.from({ length: n }, (_, i) => `${before}${[2 * i, 3 * i, 1].join(separator)}`).join(between);
const LETTERS = ["u:", "g:", "b:", ":", ",", "0:100000:65536", "\x1e"];
const CONTEXT = "0:100000:65536,u:70000:1000:1\x1d";

export const mappingTargets: readonly Target[] = [
	target("colon", {
		words: LETTERS,
		seeds: [
			"0:100000:65536",
			"u:0:1000:1,g:0:100:1,1:100000:65536",
			"b:0:0:4294967295",
			"0:100000:65536\x1e65536:0:1",
		],
		growing: {
			extents: triples(":", ","),
			digits: (n) => "9".repeat(n),
			zeros: (n) => `0:0:${"0".repeat(n)}`,
		},
	}),
	target("proc", {
		words: ["         0     100000      65536\n", "\n\n", "\t", "\r\n", "0 0 1", "\x1e"],
		seeds: ["0 100000 65536", "0 0 4294967295\n", "0 1000 1\n1 100000 65536\n\n0 100 1\n", "0 0 1\x1e0 0 1"],
		growing: {
			extents: triples(" ", "\n"),
			blanks: (n) => `0${" ".repeat(n)}0${" ".repeat(n)}x`,
			lines: (n) => "\n ".repeat(n),
		},
	}),
	target("x-mount.idmap", {
		words: [...LETTERS, " ", "\\040", "/proc/1/ns/user"],
		seeds: ["b:0:100000:65536", "u:0:1000:1 g:0:100:1", "0:1:2\\0403:4:1", "/proc/1/ns/user"],
		growing: { extents: triples(":", " "), blanks: (n) => `0:1:2${" \\040".repeat(n)}x` },
	}),
	target("mount-idmapped", {
		words: [...LETTERS, " "],
		seeds: ["b:0:100000:65536", "u:0:1000:1 g:0:100:1", "b:0:1:2\x1eb:3:4:1"],
		growing: { extents: triples(":", " ", "b:"), blanks: (n) => `b:0:1:2${" ".repeat(n)}x` },
	}),
	target("lxc", {
		words: [...LETTERS, " "],
		seeds: ["u:0:100000:65536 g:0:100000:65536", "b:0:1000:1"],
		growing: { extents: triples(":", " ", "u:") },
	}),
	target("podman", {
		words: [...LETTERS, "+", "@", "+u", "+g@", "--uidmap=", "--gidmap=", "--uidmap ", "--gidmap ", CONTEXT],
		seeds: [
			"0:100000:65536",
			"--uidmap=0:1:1 --gidmap=0:1:1",
			"--uidmap 0:1000:1 --uidmap=1:100000:65536",
			`${CONTEXT}+1000:@1000`,
			`${CONTEXT}u0:@100000:10:10:1:0`,
			`${CONTEXT}--uidmap=+u5:7:2 --gidmap=+g5:@100007:2`,
			`${CONTEXT} +g1:2`,
		],
		growing: {
			extents: triples(":", " "),
			extending: triples(":", " ", "+"),
			filling: (n) => `0:0:4294967294\x1d+${triples(":", " ")(n)}`,
			delegated: (n) =>
				`${triples(":", ",")(300)}\x1d${Array.from({ length: n }, (_, i) => `${i}:@0`).join(" ")}`,
		},
	}),
	target("podman-idmap", {
		words: ["idmap", "ridmap", "=", "uids=", "gids=", ";", "#", "-", "@", "0-100000-65536", CONTEXT, "\x1e"],
		seeds: [
			"idmap=uids=0-100000-65536;gids=0-100000-65536",
			"ridmap=gids=0-1-10#10-11-10;uids=@5-6-1",
			`${CONTEXT}idmap`,
			`${CONTEXT}idmap=uids=@0-5-10#20-30-1`,
		],
		growing: { extents: (n) => `idmap=uids=${triples("-", "#")(n)};gids=0-0-1` },
	}),
	target("incus", {
		words: ["both ", "uid ", "gid ", "-", " ", "\n", "1000000-1065535", "0-65535"],
		seeds: ["both 1000000-1065535 0-65535", "uid 1000 0\ngid 100 0", "both 5 5\r\n\nuid 6-7 8-9\n"],
		growing: {
			extents: (n) => Array.from({ length: n }, (_, i) => `both ${3 * i} ${2 * i}`).join("\n"),
			blanks: (n) => `both ${" ".repeat(n)}x`,
		},
	}),
	target("oci", {
		words: [
			...'{ } [ ] , : null true false " \\u0000 1e1 -0'.split(" "),
			...[
				'"uidMappings"',
				'"gidMappings"',
				'"containerID"',
				'"hostID"',
				'"size"',
				'"__proto__":{"uidMappings":[]}',
			],
			'{"containerID":0,"hostID":100000,"size":65536}',
		],
		seeds: [
			'{"uidMappings":[{"containerID":0,"hostID":100000,"size":65536}],"gidMappings":[{"containerID":0,"hostID":0,"size":1}]}',
			'{"__proto__":{"uidMappings":[]},"uidMappings":null,"gidMappings":[]}',
			'{"uidMappings":[{"containerID":1e1,"hostID":-0,"size":1.0}],"gidMappings":[null]}',
		],
		growing: {
			extents: (n) => {
				const list = Array.from({ length: n }, (_, i) => ({ containerID: 2 * i, hostID: 3 * i, size: 1 }));
				return JSON.stringify({ uidMappings: list, gidMappings: list });
			},
			depth: (n) => `{"uidMappings":${"[".repeat(n)}`,
			nested: (n) => `{"uidMappings":${"[".repeat(n)}${"]".repeat(n)}}`,
		},
	}),
	target("subid", {
		words: ["alice:", "1000:", "100000:65536", "#", "\n", ":", "\r", "\t", CONTEXT],
		seeds: [
			"alice:100000:65536\n",
			`${CONTEXT}# a comment\nbob:1:1\nalice:100000:65536\n1000:200000:65536\n`,
			"a:1:0\na:5:6",
		],
		growing: {
			lines: (n) => "alice:1:0\n".repeat(n),
			extents: (n) => Array.from({ length: n }, (_, i) => `a:${3 * i}:1`).join("\n"),
			comments: (n) => "#\n \n".repeat(n),
		},
	}),
	detecting(),
];

/** Without a syntax name a text has one meaning, however many syntaxes read it, or it is an error. */
function detecting(): Target {
	const speaking = NAMES.filter((name) => syntaxes[name].isDetected);
	return {
		name: "detect-syntax",
		words: [
			"0:1:2",
			"u:",
			"b:0:1:2",
			" ",
			"\n",
			"idmap=uids=0-1-2;gids=0-1-2",
			"both 0 0",
			'{"uidMappings":',
			"0 1 2",
		],
		seeds: [
			"0:100000:65536",
			"b:0:1:2 u:3:4:5",
			"0 100000 65536",
			"both 0 0",
			"idmap=uids=0-1-2;gids=0-1-2",
			'{"uidMappings":[]}',
		],
		run(bytes) {
			const text = toText(bytes);
			const meanings = new Map<string, MappingSyntax[]>();
			for (const name of speaking) {
				const one = attempt(INVALID, () => Mapping.parse(text, name));
				if ("value" in one) meanings.set(one.value.id, [...(meanings.get(one.value.id) ?? []), name]);
			}
			const parsed = attempt(INVALID, () => Mapping.parse(text));
			must("value" in parsed === (meanings.size === 1), () => `${meanings.size} meanings`);
			if ("value" in parsed)
				must(meanings.has(parsed.value.id), () => `nobody else reads ${parsed.value.id}`);
			return `${"error" in parsed ? skeleton(parsed.error).slice(0, 60) : "mapping"} ${[...meanings.values()].flat().join()}`;
		},
		growing: { extents: triples(":", ","), lines: (n) => "0 0 1\n".repeat(n) },
	};
}
