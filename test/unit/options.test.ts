import assert from "node:assert/strict";
import { runInNewContext } from "node:vm";
import { UsernsError } from "../../src/errors.ts";
import { copyOptions, ownCopy, ownMap, ownValue } from "../../src/options.ts";
import { test } from "../support/test.ts";

const known = ["one", "two", "into", "targetRoot", "resolve"];
const copy = (options: unknown) => copyOptions<Record<string, unknown>>("f", options, known);

test("copyOptions accepts an object or undefined, and no unknown name", () => {
	assert.deepEqual(Object.keys(copy(undefined)), []);
	assert.deepEqual(Object.keys(copy({})), []);
	assert.deepEqual(Object.entries(copy({ two: 2, one: undefined })), [
		["two", 2],
		["one", undefined],
	]);
	for (const [options, shown] of [
		[null, "null"],
		[[], "an array"],
		["one", '"one"'],
		[() => 1, "a function"],
	] as const) {
		assert.throws(() => copy(options), {
			code: "ERR_USERNS_INVALID_ARGUMENT",
			message: `f: the options must be an object, not ${shown}`,
		});
	}
	assert.throws(() => copy({ one: 1, three: 3 }), {
		code: "ERR_USERNS_INVALID_ARGUMENT",
		message: 'f: unknown option "three"',
		hint: "The options are: one, two, into, targetRoot, resolve.",
	});
});

test("copyOptions returns a copy without a prototype, and never the caller's object", () => {
	const given = { one: 1 };
	for (const options of [undefined, given, Object.create(null)]) {
		assert.equal(Object.getPrototypeOf(copy(options)), null);
		assert.notEqual(copy(options), options);
	}
	const kept = copy(given);
	given.one = 2;
	assert.equal(kept.one, 1);
	// All calls share the copy of undefined, so no call may change it.
	assert.throws(() => Object.assign(copy(undefined), { one: 1 }), TypeError);
});

test("copyOptions refuses options on a prototype, and does not ignore them", () => {
	class Defaults {
		get into() {
			return 1;
		}
	}
	const bare = Object.assign(Object.create(null), { into: 1 });
	for (const options of [new Defaults(), Object.create({ into: 1 }), Object.create(Object.create(bare))]) {
		assert.throws(() => copy(options), {
			code: "ERR_USERNS_INVALID_ARGUMENT",
			message: 'f: the option "into" is inherited from a prototype, and only own properties are read',
		});
		assert.deepEqual(
			Object.entries(copy(Object.assign(Object.create({ into: 1 }), { ...options, into: 2 }))),
			[["into", 2]],
		);
	}
	// The options of another realm, for example those of a test that runs in a vm context.
	const other = runInNewContext("Object.prototype.into = 1; ({ one: 1 })");
	assert.deepEqual(Object.entries(copy(other)), [["one", 1]]);
});

test("copyOptions reads own properties only, and each of them once", () => {
	assert.deepEqual(Object.keys(copy(Object.create({ three: 3 }))), []);
	let reads = 0;
	const options = {
		get one() {
			reads++;
			return reads;
		},
	};
	const { one } = copy(options);
	assert.equal(one, 1);
	assert.equal(reads, 1);
});

test("copyOptions refuses __proto__ and constructor, and parsed JSON cannot set a prototype", () => {
	for (const name of ["__proto__", "constructor", "toString", "hasOwnProperty"]) {
		assert.throws(() => copy(JSON.parse(`{"${name}": {"one": 1}}`)), {
			code: "ERR_USERNS_INVALID_ARGUMENT",
			message: `f: unknown option "${name}"`,
		});
	}
	assert.equal(({} as { one?: number }).one, undefined);
});

test("copyOptions throws for into, targetRoot and resolve that are present but undefined", () => {
	for (const name of ["into", "targetRoot", "resolve"]) {
		assert.throws(
			() => copy({ [name]: undefined }),
			(error) => {
				assert.ok(error instanceof UsernsError);
				assert.equal(error.code, "ERR_USERNS_INVALID_ARGUMENT");
				assert.equal(error.message, `f: ${name} is present but undefined`);
				assert.match(error.hint ?? "", new RegExp(`^Leave ${name} out to `));
				return true;
			},
		);
		assert.equal(copy({ [name]: "x" })[name], "x");
	}
});

test("ownValue, ownCopy and ownMap read nothing through a prototype", () => {
	const object = Object.create({ inherited: 1 }, { hidden: { value: 2 } });
	object.own = 3;
	assert.equal(ownValue(object, "inherited"), undefined);
	assert.equal(ownValue(object, "toString"), undefined);
	assert.equal(ownValue(object, "own"), 3);
	assert.deepEqual(Object.entries(ownCopy(object)), [["own", 3]]);
	assert.equal(Object.getPrototypeOf(ownCopy(object)), null);
	const list: unknown[] = ["a"];
	list[2] = "c";
	Object.setPrototypeOf(list, { 1: "inherited", 3: "inherited" });
	assert.deepEqual(
		ownMap(list, (value, index) => [index, value]),
		[
			[0, "a"],
			[1, undefined],
			[2, "c"],
		],
	);
	let reads = 0;
	const counting = new Proxy([5], {
		get(target, key) {
			if (key === "0") reads++;
			return Reflect.get(target, key);
		},
	});
	assert.deepEqual(
		ownMap(counting, (value) => value),
		[5],
	);
	assert.equal(reads, 1);
});
