import assert from "node:assert/strict";
import * as exported from "../../src/index.ts";
import { Mapping, UsernsError } from "../../src/index.ts";
import { detectSyntax } from "../../src/mapping/detect-syntax.ts";
import { canonical, findContainer, type IdMap, sameExtents } from "../../src/mapping/extent.ts";
import {
	disjoint,
	type FindDelegation,
	rootlessExtents,
	setFindDelegation,
} from "../../src/mapping/rootless.ts";
import { syntaxNames } from "../../src/mapping/syntax/table.ts";
import { readUpTo, valueChecked } from "../../src/mapping/text-errors.ts";
import { test } from "../support/test.ts";

/** The exported classes that users construct. */
const PUBLIC = ["Handles", "UsernsError"];

test("the objects of every other class come from functions only: its constructor throws a TypeError", () => {
	type Class = new (...args: unknown[]) => object;
	const classes = Object.entries(exported).filter(([, value]) => /^class\b/.test(String(value)));
	const tried = classes.filter(([name]) => !PUBLIC.includes(name)) as unknown as [string, Class][];
	assert.deepEqual(tried.map(([name]) => name).sort(), [
		"IdmappedMount",
		"Mapping",
		"OverlayMount",
		"UserNamespace",
	]);
	const [extents, mapping] = [[{ containerID: 0, hostID: 0, size: -1 }], Mapping.from("0:1:1")];
	const given = [
		[],
		[3],
		[3, mapping],
		[{}, mapping, [], "/"],
		[{ descriptor: { fd: 3 } }, mapping],
		[extents, extents],
		[Symbol("own"), extents, extents],
	];
	for (const [name, Class] of tried) {
		const Heir = class extends Class {};
		for (const args of given) {
			for (const make of [() => new Class(...args), () => new Heir(...args)]) {
				assert.throws(make, (error) => {
					assert.ok(error instanceof TypeError, name);
					assert.match(error.message, /^\w+ has no public constructor: use \w+/);
					assert.equal((error as NodeJS.ErrnoException).code, "ERR_ILLEGAL_CONSTRUCTOR");
					return true;
				});
			}
		}
	}
});

const LAST = 4294967294;
const extent = (containerID: number, hostID: number, size: number): IdMap => ({ containerID, hostID, size });

test("equals: every number of every extent counts, of both kinds", () => {
	const same = "u:0:1:5,u:10:20:1,g:0:1:5,g:10:30:1";
	assert.ok(Mapping.from(same).equals("g:10:30:1,g:0:1:5,u:10:20:1,u:0:1:5"));
	for (const other of [
		"u:1:1:5,u:10:20:1,g:0:1:5,g:10:30:1",
		"u:0:2:5,u:10:20:1,g:0:1:5,g:10:30:1",
		"u:0:1:6,u:10:20:1,g:0:1:5,g:10:30:1",
		"u:0:1:5,u:10:21:1,g:0:1:5,g:10:30:1",
		"u:0:1:5,g:0:1:5,g:10:30:1",
		"u:0:1:5,u:10:20:1,g:0:1:5,g:10:31:1",
		"u:0:1:5,u:10:20:1,g:0:1:5",
		"u:0:1:5,u:10:20:1",
	]) {
		assert.equal(Mapping.from(same).equals(other), false, other);
		assert.equal(Mapping.from(other).equals(same), false, other);
	}
	assert.equal(sameExtents([extent(0, 1, 2)], [extent(0, 1, 2)]), true);
});

test("a list that is in order already is taken over, not copied; one that is not is put in order", () => {
	const ordered = [extent(0, 100, 1), extent(5, 50, 1)];
	assert.equal(canonical("uid", ordered), ordered);
	const neighbours = [extent(1, 101, 2), extent(0, 100, 1)];
	assert.deepEqual(canonical("uid", neighbours), [extent(0, 100, 3)]);
	assert.deepEqual(neighbours, [extent(1, 101, 2), extent(0, 100, 1)]);
});

test("−0 is 0", () => {
	const { uidMappings } = Mapping.from({ uidMappings: [extent(-0, -0, 1)] });
	assert.ok(Object.is(uidMappings[0]?.containerID, 0) && Object.is(uidMappings[0]?.hostID, 0));
});

test("an ID is found at both edges of its extent and beside neither", () => {
	const extents = [extent(2, 0, 2), extent(6, 10, 1), extent(9, 20, 3)];
	const held = Array.from({ length: 14 }, (_, id) => findContainer(extents, id)?.containerID);
	const none = undefined;
	assert.deepEqual(held, [none, none, 2, 2, none, none, 6, none, none, 9, 9, 9, none, none]);
});

test("translation: both kinds have their own list, and 2^32 is no ID while 2^32 − 1 is one that nothing maps", () => {
	const mapping = Mapping.from("u:0:100:5,g:0:200:5");
	assert.equal(mapping.uidToHost(4), 104);
	assert.equal(mapping.gidToHost(4), 204);
	assert.equal(mapping.uidToContainer(104), 4);
	assert.equal(mapping.gidToContainer(204), 4);
	assert.equal(mapping.uidToHost(5), undefined);
	assert.equal(mapping.uidToHost(2 ** 32 - 1), undefined);
	assert.throws(() => mapping.uidToHost(2 ** 32), /from 0 to 4294967295, not 4294967296/);
});

test("what invert makes is kept, and turned round again it is the first", () => {
	const mapping = Mapping.from("0:100:5");
	assert.equal(mapping.invert(), mapping.invert());
	assert.equal(mapping.invert().invert(), mapping);
});

test("isIdentity: all of them, of both kinds", () => {
	assert.equal(Mapping.from("0:0:5,10:10:1").isIdentity, true);
	for (const text of ["0:0:5,10:11:1", "u:0:0:5,g:0:1:5", "u:0:1:5,g:0:0:5"]) {
		assert.equal(Mapping.from(text).isIdentity, false, text);
	}
});

test("procText has the lines of the kind that is asked for", () => {
	const mapping = Mapping.from("u:0:1:5,g:0:2:5,g:10:20:1");
	assert.equal(mapping.procText("uid"), "0 1 5");
	assert.equal(mapping.procText("gid"), "0 2 5\n10 20 1");
});

test("punch: one kind, the other, or both", () => {
	const mapping = Mapping.from("0:100:3");
	assert.equal(mapping.punch(1, 7).id, "0:100:1,1:7:1,2:102:1");
	assert.equal(mapping.punch(1, 7, "uid").id, "u:0:100:1,u:1:7:1,u:2:102:1,g:0:100:3");
	assert.equal(mapping.punch(1, 7, "gid").id, "u:0:100:3,g:0:100:1,g:1:7:1,g:2:102:1");
	// The host ID is removed from the extent that had it: in the middle, at either end, and a whole extent.
	assert.equal(Mapping.from("0:100:3").punch(9, 101).id, "0:100:1,2:102:1,9:101:1");
	assert.equal(Mapping.from("0:100:3").punch(9, 100).id, "1:101:2,9:100:1");
	assert.equal(Mapping.from("0:100:3").punch(9, 102).id, "0:100:2,9:102:1");
	assert.equal(Mapping.from("0:100:1,5:200:1").punch(9, 100).id, "5:200:1,9:100:1");
});

test("sets: an extent that lies over several of the other mapping, at either side", () => {
	const wide = Mapping.from("0:100:20");
	const pieces = Mapping.from("0:100:5,10:110:5,16:116:1,19:119:1");
	assert.equal(wide.intersect(pieces).id, pieces.id);
	assert.equal(pieces.intersect(wide).id, pieces.id);
	assert.equal(wide.subtract(pieces).id, "5:105:5,15:115:1,17:117:2");
	assert.equal(pieces.intersect("3:103:10").id, "3:103:2,10:110:3");
	// Behind one that is mapped otherwise, and before one.
	assert.equal(pieces.intersect("0:7:10,10:110:6,16:300:9").id, "10:110:5");
	assert.equal(wide.union(pieces).id, wide.id);
	assert.equal(wide.contains(pieces), true);
	assert.equal(pieces.contains(wide), false);
	assert.equal(Mapping.from("u:0:1:1,g:0:1:2").contains("u:0:1:1,g:0:1:3"), false);
});

test("compose: pieces that end together, and pieces that do not", () => {
	const inner = Mapping.from("0:0:5,5:100:5");
	assert.equal(inner.compose("0:1000:5,100:2000:5").id, "0:1000:5,5:2000:5");
	assert.equal(inner.compose("3:1000:100").id, "3:1000:2,5:1097:3");
});

test("a mapping is one thing whether a text, an object or a Mapping says it", () => {
	const mapping = Mapping.from("0:1:1");
	assert.equal(Mapping.from(mapping), mapping);
	assert.equal(Mapping.fromProc("0 1 5", "0 2 6\n").id, "u:0:1:5,g:0:2:6");
	assert.equal(Mapping.fromProc("", "").id, "");
	assert.equal(Mapping.identity({ from: 5 }).id, `5:5:${LAST - 4}`);
});

test("rootless: the container IDs end where IDs end, and what is over is not mapped", () => {
	const all = { first: 0, size: LAST + 1 };
	assert.deepEqual(rootlessExtents({ own: 1000, ranges: [all] }, 0), [
		extent(0, 1000, 1),
		extent(1, 0, 1000),
		extent(1001, 1001, LAST - 1000),
	]);
	// The user's own ID is the last one, and the range has one ID more than fits.
	assert.deepEqual(rootlessExtents({ own: LAST, ranges: [{ first: 0, size: LAST + 1 }] }, LAST), [
		extent(LAST, LAST, 1),
		extent(0, 0, LAST),
	]);
	// Ranges of a directory service can be of IDs that nobody can have: there is no place inside for the last of them.
	const more = [
		{ first: 10, size: LAST - 10 },
		{ first: 2 ** 33, size: 100 },
	];
	assert.deepEqual(rootlessExtents({ own: 5, ranges: more }, 0), [
		extent(0, 5, 1),
		extent(1, 10, LAST - 10),
		extent(LAST - 9, 2 ** 33, 10),
	]);
});

test("Mapping.rootless asks for the user that it was given, and has a map for each kind", () => {
	const asked: unknown[] = [];
	setFindDelegation((user) => {
		asked.push(user);
		return {
			uid: { own: 1000, ranges: [{ first: 100000, size: 10 }] },
			gid: { own: 2, ranges: [{ first: 200000, size: 5 }] },
		};
	});
	assert.equal(Mapping.rootless().id, "u:0:1000:1,u:1:100000:10,g:0:2:1,g:1:200000:5");
	assert.equal(
		Mapping.rootless({ user: "alpha", keepId: true }).id,
		"u:0:100000:10,u:1000:1000:1,g:0:200000:2,g:2:2:1,g:3:200002:3",
	);
	assert.equal(
		Mapping.rootless({ keepId: { uid: 3 }, size: 6 }).id,
		"u:0:100000:3,u:3:1000:1,u:4:100003:2,g:0:200000:2,g:2:2:1,g:3:200002:3",
	);
	assert.equal(Mapping.rootless({ keepId: false, size: 1 }).id, "u:0:1000:1,g:0:2:1");
	assert.equal(Mapping.rootless({ keepId: {} }).id, Mapping.rootless({ keepId: true }).id);
	for (const [options, message] of [
		[{ size: 0 }, /size must be a whole number from 1 to 4294967294, not 0/],
		[{ size: "5" }, /size must be a whole number/],
		[{ keepId: { uid: -1 } }, /keepId\.uid must be a whole number from 0/],
		[{ keepId: { gid: 4294967295 } }, /keepId\.gid must be/],
		[{ keepId: { user: 5 } }, /keepId: unknown option "user"/],
		[{ keepId: null }, /keepId must be a boolean or an object \{uid, gid\}, not null/],
	] as [object, RegExp][]) {
		assert.throws(() => Mapping.rootless(options), { code: "ERR_USERNS_INVALID_ARGUMENT", message });
	}
	assert.deepEqual(asked.slice(0, 2), [undefined, "alpha"]);
	setFindDelegation(undefined as unknown as FindDelegation);
	assert.throws(() => Mapping.rootless(), /no function looks up subordinate IDs/);
});

test("Mapping.owner shows the source's owner as a user of the container, and each kind has its own IDs", () => {
	const source = { uid: 1000, gid: 100 };
	assert.equal(Mapping.owner(source, Mapping.identity()).id, "u:1000:0:1,g:100:0:1");
	assert.equal(Mapping.owner(source, "u:0:5000:9,g:0:6000:9").id, "u:1000:5000:1,g:100:6000:1");
	assert.equal(Mapping.owner(source, "0:5000:9", { uid: 3, gid: 8 }).id, "u:1000:5003:1,g:100:5008:1");
	assert.equal(Mapping.owner({ uid: 0, gid: LAST }, "0:0:1").id, `u:0:0:1,g:${LAST}:0:1`);
	for (const [owner, as, message] of [
		[null, {}, /the source must be an object \{uid, gid\}, not null/],
		[{ uid: 5 }, {}, /the source: gid must be a whole number .*, not undefined/],
		[{ uid: 5n, gid: 5 }, {}, /the source: uid must be a whole number .*, not 5n/],
		[{ uid: 4294967295, gid: 5 }, {}, /the source: uid must be a whole number from 0 to 4294967294/],
		[source, { uid: -1 }, /Mapping\.owner: uid must be a whole number/],
		[source, { gid: 9 }, /the mapping of the container has no gid 9/],
		[source, { others: "swap" }, /others must be "unmapped" or "keep", not "swap"/],
		[source, { user: 5 }, /unknown option "user"/],
	] as [never, object, RegExp][]) {
		const code = "ERR_USERNS_INVALID_ARGUMENT";
		assert.throws(() => Mapping.owner(owner, "0:5000:9", as), { code, message });
	}
});

test("Mapping.owner with others: keep is one-to-one, and only the displaced ID is not mapped", () => {
	const ids = [0, 1, 5, 1000, 100000, LAST - 1, LAST];
	for (const uid of ids) {
		for (const host of ids) {
			const mapping = Mapping.owner({ uid, gid: 7 }, `u:0:${host}:1,g:0:7:1`, { others: "keep" }).fit();
			assert.equal(mapping.uidToHost(uid), host);
			for (const other of ids) {
				if (other !== uid) assert.equal(mapping.uidToHost(other), other === host ? undefined : other);
			}
			assert.deepEqual(mapping.unmapped, { uid: uid === host ? [] : [{ first: host, size: 1 }], gid: [] });
			assert.equal(mapping.gidToHost(7), 7);
			assert.equal(mapping.size.uid, uid === host ? LAST + 1 : LAST);
		}
	}
});

test("unmapped has the IDs around and between the extents", () => {
	assert.deepEqual(Mapping.from("u:3:0:2,u:7:9:1").unmapped, {
		uid: [
			{ first: 0, size: 3 },
			{ first: 5, size: 2 },
			{ first: 8, size: LAST - 7 },
		],
		gid: [{ first: 0, size: LAST + 1 }],
	});
	assert.deepEqual(Mapping.identity().unmapped, { uid: [], gid: [] });
});

test("disjoint: what touches is kept whole, what overlaps is cut on that side alone, what is inside is gone", () => {
	const taken = { first: 10, size: 10 };
	const cases: [first: number, size: number, ...left: [number, number][]][] = [
		[0, 10, [0, 10]],
		[20, 5, [20, 5]],
		[0, 11, [0, 10]],
		[19, 3, [20, 2]],
		[10, 10],
		[12, 3],
		[5, 30, [5, 5], [20, 15]],
	];
	for (const [first, size, ...left] of cases) {
		const kept = disjoint([taken, { first, size }]).slice(1);
		assert.deepEqual(
			kept,
			left.map(([at, count]) => ({ first: at, size: count })),
			`${first} ${size}`,
		);
	}
});

test("detectSyntax: one meaning is taken however many syntaxes give it, two are named, and none says what it could be", () => {
	const no = () => new UsernsError("ERR_USERNS_INVALID_MAPPING", "not this", { hint: "x" });
	const A = Mapping.from("0:1:1");
	const B = Mapping.from("0:2:1");
	const tell = (meanings: Record<string, Mapping>) => (syntax: string) => {
		const mapping = meanings[syntax];
		if (mapping === undefined) throw no();
		return { uid: mapping.uidMappings, gid: mapping.gidMappings };
	};
	const read = (meanings: Record<string, Mapping>) => {
		const { lists, syntax } = detectSyntax("t", tell(meanings));
		return [syntax, Mapping.from({ uidMappings: lists.uid, gidMappings: lists.gid }).id];
	};
	assert.deepEqual(read({ oci: A, proc: A }), ["proc", A.id]);
	assert.deepEqual(read({ incus: B }), ["incus", B.id]);
	assert.throws(() => read({ colon: A, proc: B, incus: A }), {
		code: "ERR_USERNS_INVALID_MAPPING",
		message: 'the mapping "t" is ambiguous: it can be colon and incus (0:1:1) or proc (0:2:1)',
		hint: "Name the syntax.",
	});
	assert.throws(() => read({}), {
		code: "ERR_USERNS_INVALID_MAPPING",
		message: 'no syntax fits "t": not this',
		hint: `Name the syntax to see the mistake: ${syntaxNames.join(", ")}.`,
	});
	const overlap = new UsernsError("ERR_USERNS_INVALID_MAPPING", "they overlap");
	const furthest = readUpTo(new UsernsError("ERR_USERNS_INVALID_MAPPING", "further"), 9);
	const outOfRange = (syntax: string) => {
		if (syntax === "incus") valueChecked(() => assert.fail(overlap));
		throw syntax === "proc" ? furthest : no();
	};
	assert.throws(() => detectSyntax("t", outOfRange), overlap);
	const notFar = (syntax: string) => {
		if (syntax === "quadlet") throw readUpTo(no(), 8);
		throw syntax === "oci" ? furthest : no();
	};
	assert.throws(() => detectSyntax("t", notFar), {
		message: 'no syntax fits "t": further',
		hint: furthest.hint,
	});
	// What those three read has a meaning only when they are named.
	assert.throws(() => read({ lxc: A, podman: A, subid: A }), {
		message: /no syntax fits/,
		hint: "Name the syntax if the text is meant so: lxc or podman or subid.",
	});
	const mistake = new TypeError("a mistake of ours");
	assert.throws(
		() =>
			detectSyntax("t", () => {
				throw mistake;
			}),
		mistake,
	);
	assert.throws(() => Mapping.parse(" \n"), { message: "the mapping text is empty" });
});
