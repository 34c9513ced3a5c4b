import assert from "node:assert/strict";
import { inspect } from "node:util";
import {
	describeErrno,
	errnoName,
	explanations,
	invalidArgument,
	invalidMapping,
	show,
	UsernsError,
	type UsernsErrorCode,
} from "../../src/errors.ts";
import { test } from "../support/test.ts";

test("an error has the given fields, the name of the errno, and no field without a value", () => {
	const cause = new Error("before");
	const details = {
		hint: "Do that.",
		errno: -1,
		syscall: "setns",
		step: "joining",
		mapping: "0:1:1",
		cause,
	};
	const error = new UsernsError("ERR_USERNS_OPEN", "it failed", details);
	assert.ok(error instanceof Error);
	assert.equal(`${error}`, "UsernsError: it failed");
	assert.equal(error.cause, cause);
	const data = {
		code: "ERR_USERNS_OPEN",
		message: "it failed",
		hint: "Do that.",
		errno: -1,
		errnoCode: "EPERM",
		syscall: "setns",
		step: "joining",
		mapping: "0:1:1",
	};
	assert.deepEqual(error.toJSON(), data);
	assert.deepEqual(JSON.parse(JSON.stringify(error)), data);
	const bare = new UsernsError("ERR_USERNS_CLOSED", "it is closed");
	assert.equal(Object.hasOwn(bare, "cause"), false);
	const { hint } = bare;
	assert.match(hint, /^Call dup\(\)/); // the hint of the code
	assert.deepEqual(JSON.parse(JSON.stringify(bare)), {
		code: "ERR_USERNS_CLOSED",
		message: "it is closed",
		hint,
	});
	assert.equal(bare.errnoCode, undefined);
});

test("an inspected error leaves out a long mapping, and its JSON has it", () => {
	const mapping = "0:100000:1,".repeat(340);
	const error = new UsernsError("ERR_USERNS_CREATE", "it failed", { mapping });
	assert.doesNotMatch(inspect(error), /mapping/);
	assert.equal(error.mapping, mapping);
	assert.equal(error.toJSON().mapping, mapping);
	assert.match(
		inspect(new UsernsError("ERR_USERNS_CREATE", "it failed", { mapping: "0:1:1" })),
		/mapping: '0:1:1'/,
	);
});

test("an inspected error shows no undefined property, and a polluted prototype gives it none", () => {
	const bare = new UsernsError("ERR_USERNS_CLOSED", "it is closed");
	assert.doesNotMatch(inspect(bare), /undefined/);
	assert.deepEqual(Object.keys(bare).sort(), ["code", "hint", "name"]);
	assert.match(inspect(new UsernsError("ERR_USERNS_OPEN", "it failed", { errno: -1 })), /errnoCode: 'EPERM'/);
	const root = Object.prototype as { errno?: number };
	root.errno = -1;
	try {
		assert.equal(bare.errno, undefined);
	} finally {
		delete root.errno;
	}
});

test("the two argument errors have their code, and a default hint", () => {
	for (const [make, code, hint] of [
		[
			invalidArgument,
			"ERR_USERNS_INVALID_ARGUMENT",
			/^Correct the argument that the message names\. Nothing was changed\.$/,
		],
		[invalidMapping, "ERR_USERNS_INVALID_MAPPING", /size of at least 1.*the last ID is 4294967294\.$/],
	] as const) {
		const error = make("no");
		assert.equal(error.code, code);
		assert.equal(error.message, "no");
		assert.match(error.hint ?? "", hint);
		assert.equal(make("no", "Yes.").hint, "Yes.");
	}
});

test("every code has its own short explanation", () => {
	const texts = Object.values(explanations);
	for (const text of texts) assert.match(text, /^[a-z].{10,90}[^.]$/);
	assert.equal(new Set(texts).size, texts.length);
});

test("every code has its own hint: one or two sentences of at most 200 characters", () => {
	const hints = Object.keys(explanations).map((code) => new UsernsError(code as UsernsErrorCode, "no").hint);
	for (const hint of hints) assert.match(hint, /^[A-Z].{10,198}\.$/);
	assert.equal(new Set(hints).size, hints.length);
});

test("errnos have a name and a text, also those that libuv does not know", () => {
	// The names and numbers of asm-generic/errno.h; the texts of strerror(3), but for the first letter.
	const known: [number, string, string][] = [
		[-1, "EPERM", "operation not permitted"],
		[-28, "ENOSPC", "no space left on device"],
		[-8, "ENOEXEC", "exec format error"],
		[-15, "ENOTBLK", "block device required"],
		[-61, "ENODATA", "no data available"],
		[-87, "EUSERS", "too many users"],
		[-116, "ESTALE", "stale file handle"],
		[-117, "EUCLEAN", "structure needs cleaning"],
		[-122, "EDQUOT", "disk quota exceeded"],
	];
	for (const [number, name, text] of known) {
		assert.equal(errnoName(number), name);
		assert.equal(describeErrno(number), `${name} (${text})`);
	}
	assert.equal(errnoName(-5000), "errno 5000");
	assert.equal(describeErrno(-5000), "errno 5000");
});

test("show prints any value in a few characters", () => {
	const cases: [unknown, string][] = [
		["a\n", '"a\\n"'],
		["x".repeat(64), `"${"x".repeat(64)}"`],
		["x".repeat(65), `"${"x".repeat(60)}…"`],
		// Values that are short, but long in print.
		["\n".repeat(34), JSON.stringify("\n".repeat(34))],
		["\n".repeat(35), `"${"\\n".repeat(32)}\\…`],
		[12n, "12n"],
		[10n ** 80n, `1${"0".repeat(65)}…`],
		[null, "null"],
		[[1], "an array"],
		[{ a: 1 }, "an object"],
		[() => 1, "a function"],
		[Symbol("s"), "a symbol"],
		[-0, "-0"],
		[0, "0"],
		[1.5, "1.5"],
		[Number.NaN, "NaN"],
		[undefined, "undefined"],
		[true, "true"],
	];
	for (const [value, text] of cases) assert.equal(show(value), text);
	assert.equal(show(Object.create(null)), "an object"); // without toString
});
