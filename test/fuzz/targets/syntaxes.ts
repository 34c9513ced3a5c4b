import { Mapping, type MappingSyntax } from "../../../src/index.ts";
import { isDetected } from "../../../src/mapping/syntax/table.ts";
import { attempt, must, skeleton, type Target, toText } from "../engine/target.ts";
import { INVALID, NAMES, target } from "./mapping.ts";

const triples =
	(separator: string, between: string, before = "") =>
	(n: number) =>
		Array.from({ length: n }, (_, i) => `${before}${[2 * i, 3 * i, 1].join(separator)}`).join(between);
const LETTERS = ["u:", "g:", "b:", ":", ",", "0:100000:65536", "\x1e"];
const CONTEXT = "0:100000:65536,u:70000:1000:1\x1d";

/** The texts after it are those of a whole file: the lines of other settings are skipped. */
const SKIPPING = "\x1c";

/** The target of a JSON object with a list for each kind. */
function jsonTarget(
	syntax: MappingSyntax,
	extent: string,
	[uid, gid]: readonly [string, string],
	make: (i: number) => unknown,
): Target {
	return target(syntax, {
		words: [
			...'{ } [ ] , : null true " -1 1e1 -0'.split(" "),
			`"${uid}":`,
			`"${gid}":`,
			extent,
			'"__proto__":{}',
		],
		seeds: [
			`{"${uid}":[${extent}],"${gid}":[${extent}]}`,
			`{"${uid}":null,"${gid}":[${extent}],"more":{}}`,
			`{"__proto__":{"${uid}":[]}}`,
		],
		growing: {
			extents: (n) => JSON.stringify({ [uid]: Array.from({ length: n }, (_, i) => make(i)) }),
			nested: (n) => `{"${uid}":${"[".repeat(n)}${"]".repeat(n)}}`,
		},
	});
}

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
	target("newuidmap", {
		words: ["newuidmap ", "newgidmap ", "42 ", "fd:5 ", "$pid ", "0 1000 1", "\n", "\t", "\x1e"],
		seeds: ["0 1000 1 1 100000 65536", "newuidmap 42 0 1000 1\nnewgidmap $pid 0 100 1\n", "0\x1e1000\x1e1"],
		growing: {
			extents: triples(" ", " "),
			blanks: (n) => `0${" ".repeat(n)}x`,
			lines: (n) => "newuidmap 1 0 0 1\n".repeat(n),
		},
	}),
	target("x-mount.idmap", {
		words: [...LETTERS, " ", "X-mount.idmap=", "\\040", "/proc/1/ns/user"],
		seeds: ["b:0:100000:65536", "u:0:1000:1 g:0:100:1", "0:1:2\\0403:4:1", "/proc/1/ns/user"],
		growing: { extents: triples(":", " "), blanks: (n) => `0:1:2${" \\040".repeat(n)}x` },
	}),
	target("map-users", {
		words: ["--map-users=", "--map-groups ", "0:1000:1", "1000,0,1", ":", ",", " ", "\x1e"],
		seeds: ["--map-users=0:1000:1 --map-groups=0:100:1", "--map-users 1000,0,1"],
		growing: {
			extents: triples(":", " ", "--map-users="),
			blanks: (n) => `--map-users${" ".repeat(n)}0`,
			digits: (n) => `--map-users=${"9".repeat(n)}`,
		},
	}),
	target("mount-idmapped", {
		words: [...LETTERS, " ", "--map-mount", "="],
		seeds: [
			"b:0:100000:65536",
			"--map-mount=b:0:1:2 --map-mount u:3:4:1",
			"u:0:1000:1 g:0:100:1",
			"b:0:1:2\x1eb:3:4:1",
		],
		growing: { extents: triples(":", " ", "b:"), blanks: (n) => `b:0:1:2${" ".repeat(n)}x` },
	}),
	target("lxc", {
		words: [...LETTERS, " ", "-m"],
		seeds: ["-m u:0:1:1 -mg:0:1:1", "u:0:100000:65536 g:0:100000:65536", "b:0:1000:1"],
		growing: { extents: triples(":", " ", "u:") },
	}),
	target("lxc.conf", {
		words: ["lxc.idmap", "lxc.id_map", " = ", ": ", "u 0 100000 65536", "g ", "#", "\n", "[", "\r", SKIPPING],
		seeds: [
			"lxc.idmap = u 0 100000 65536\nlxc.idmap: g 0 100000 65536\n",
			"# x\nlxc.id_map=u 0 1 1\nlxc.idmap =\n",
			`${SKIPPING}arch: amd64\nlxc.idmap: u 0 1 1\n[snap]\nlxc.idmap: u 0 1 1`,
		],
		growing: {
			extents: triples(" ", "\n", "lxc.idmap = u "),
			blanks: (n) => `lxc.idmap = u${" ".repeat(n)}x`,
			comments: (n) => "#\n \n".repeat(n),
			others: (n) => `${SKIPPING}${"arch: amd64\n".repeat(n)}`,
		},
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
	target("quadlet", {
		words: ["UIDMap=", "GIDMap=", "+", "@", "u", "0:100000:65536", "\n", "\\\n", "#", ";", CONTEXT, SKIPPING],
		seeds: [
			"UIDMap=0:1:1000\nGIDMap=0:1:1000\n",
			"UIDMap=0:1:1\nUIDMap=\nUIDMap=u5:6\nUIDMap=g7:8:9\n",
			`${CONTEXT}UIDMap=+5:@100007:1`,
			`${SKIPPING}[Container]\nExec=a \\\nUIDMap=9:9:9\nUIDMap=0:1:1`,
		],
		growing: {
			extents: triples(":", "\n", "UIDMap="),
			extending: triples(":", "\n", "UIDMap=+"),
			others: (n) => `${SKIPPING}${"Exec=a \\\n".repeat(n)}`,
			removed: (n) => "UIDMap=0:1:1\nUIDMap=\n".repeat(n),
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
	jsonTarget("podman-inspect", '"0:100000:65536"', ["UidMap", "GidMap"], (i) => `${2 * i}:${3 * i}:1`),
	jsonTarget(
		"podman-info",
		'{"container_id":0,"host_id":100000,"size":65536}',
		["uidmap", "gidmap"],
		(i) => ({ container_id: 2 * i, host_id: 3 * i, size: 1 }),
	),
	jsonTarget("cri", '{"container_id":0,"host_id":100000,"length":65536}', ["uids", "gids"], (i) => ({
		hostId: 3 * i,
		containerId: 2 * i,
		length: 1,
	})),
	target("incus-json", {
		words: [
			...'[ ] { } , : null true false "Isuid" "Isgid" "Hostid" "Nsid" "Maprange" -1 1e1'.split(" "),
			'{"Isuid":true,"Isgid":false,"Hostid":100000,"Nsid":0,"Maprange":65536}',
		],
		seeds: [
			'[{"Isuid":true,"Isgid":true,"Hostid":100000,"Nsid":0,"Maprange":65536}]',
			'[{"Isuid":true,"Isgid":false,"Hostid":1,"Nsid":0,"Maprange":1},{"Isuid":false,"Isgid":true,"Hostid":2,"Nsid":0,"Maprange":1}]',
		],
		growing: {
			extents: (n) =>
				JSON.stringify(
					Array.from({ length: n }, (_, i) => ({
						Isuid: true,
						Isgid: true,
						Hostid: 3 * i,
						Nsid: 2 * i,
						Maprange: 1,
					})),
				),
			nested: (n) => `${"[".repeat(n)}${"]".repeat(n)}`,
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
			"lxc.idmap: u 0 1 2",
			"UIDMap=0:1:2",
			"--map-users=0:1:2",
			"--uidmap=0:1:2",
			"-m ",
			"         0     100000      65536\n",
			'[{"Isuid":true,"Isgid":true,"Hostid":1,"Nsid":0,"Maprange":2}]',
		],
		seeds: [
			"0 1 2 3 4 5",
			"newuidmap 1 0 1 2",
			"         0       1000          1\n         0        100          1\n",
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
			for (const name of NAMES.filter((each) => isDetected(each, text))) {
				const one = attempt(INVALID, () => Mapping.parse(text, name));
				if ("value" in one) meanings.set(one.value.id, [...(meanings.get(one.value.id) ?? []), name]);
			}
			const parsed = attempt(INVALID, () => Mapping.parse(text));
			must("value" in parsed === (meanings.size === 1), () => `${meanings.size} meanings`);
			if ("value" in parsed)
				must(meanings.has(parsed.value.id), () => `no other syntax reads ${parsed.value.id}`);
			return `${"error" in parsed ? skeleton(parsed.error).slice(0, 60) : "mapping"} ${[...meanings.values()].flat().join()}`;
		},
		growing: { extents: triples(":", ","), lines: (n) => "0 0 1\n".repeat(n) },
	};
}
