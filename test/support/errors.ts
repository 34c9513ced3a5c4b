import assert from "node:assert/strict";
import { UsernsError } from "../../src/index.ts";

/** For assert.throws and assert.rejects: a UsernsError of that code, with a hint, whose message says this. */
export function failure(code: string, message: RegExp): (error: unknown) => boolean {
	return (error) => {
		assert.ok(error instanceof UsernsError, String(error));
		assert.equal(error.code, code);
		assert.match(error.message, message);
		assert.ok(error.hint);
		return true;
	};
}
