import assert from "node:assert/strict";
import { UsernsError } from "../../src/index.ts";

/** For assert.throws and assert.rejects: a UsernsError with that code, a hint, and a message that matches. */
export function failure(code: string, message: RegExp): (error: unknown) => boolean {
	return (error) => {
		assert.ok(error instanceof UsernsError, String(error));
		assert.equal(error.code, code);
		assert.match(error.message, message);
		assert.ok(error.hint);
		return true;
	};
}
