import assert from "node:assert/strict";
import fc from "fast-check";
import { UsernsError } from "../../src/index.ts";
import { mappingOf, parseStatmount } from "../../src/mount/statmount.ts";
import { check } from "../support/arbitrary.ts";
import { test } from "../support/test.ts";

const BASIC = 0x02n;
const UIDMAP = 0x2000n;
const GIDMAP = 0x4000n;

interface Written {
	mask: bigint;
	size?: number;
	uid?: [count: number, start: number];
	gid?: [count: number, start: number];
	text?: string;
	bytes?: number;
}

/** As the kernel writes it: 512 bytes and texts. */
function answer({ mask, size, uid = [0, 0], gid = [0, 0], text = "", bytes }: Written): ArrayBuffer {
	const length = 512 + text.length;
	const buffer = new ArrayBuffer(bytes ?? length);
	const whole = new ArrayBuffer(Math.max(length, 512));
	const view = new DataView(whole);
	view.setUint32(0, size ?? length, true);
	view.setBigUint64(8, mask, true);
	view.setBigUint64(40, 2147488208n, true);
	view.setUint32(56, 63, true);
	view.setBigUint64(64, 0x100000n, true);
	view.setUint32(152, uid[0], true);
	view.setUint32(156, uid[1], true);
	view.setUint32(160, gid[0], true);
	view.setUint32(164, gid[1], true);
	new Uint8Array(whole, 512).set(Buffer.from(text, "latin1"));
	new Uint8Array(buffer).set(new Uint8Array(whole).subarray(0, buffer.byteLength));
	return buffer;
}

const BOTH = BASIC | UIDMAP | GIDMAP;

test("a result of the kernel is parsed, with both kinds and several extents", () => {
	const text = "\0" + "0 100000 65536\0" + "70000 5 1\0" + "0 200000 10\0";
	const mount = parseStatmount(answer({ mask: BOTH, uid: [2, 1], gid: [1, 26], text }));
	assert.deepEqual(mount, {
		uniqueId: 2147488208n,
		id: 63,
		idmapped: true,
		uidMap: "0 100000 65536\n70000 5 1",
		gidMap: "0 200000 10",
	});
	const mapping = mappingOf(mount);
	assert.equal(
		String(typeof mapping === "string" ? mapping : mapping.id),
		"u:0:100000:65536,u:70000:5:1,g:0:200000:10",
	);
	const without = parseStatmount(answer({ mask: BASIC }));
	assert.equal(without.uidMap, undefined);
	assert.match(String(mappingOf(without)), /unknown on this kernel/);
	const nobody = parseStatmount(answer({ mask: BOTH, uid: [0, 0], gid: [0, 0], text: "\0" }));
	assert.match(String(mappingOf(nobody)), /does not map/);
});

test("a result that the kernel never writes is refused, and nothing is read out of bounds", () => {
	const cases: [string, ArrayBuffer][] = [
		["empty", new ArrayBuffer(0)],
		["cut off", answer({ mask: BASIC, bytes: 511 })],
		["a size beyond the buffer", answer({ mask: BASIC, size: 600 })],
		["a size below the struct", answer({ mask: BASIC, size: 100 })],
		["no number", answer({ mask: 0n })],
		["a text behind the end", answer({ mask: BOTH, uid: [1, 50], text: "0 0 1\0" })],
		["a text at the end", answer({ mask: BOTH, uid: [1, 6], text: "0 0 1\0" })],
		["an offset of 4 GiB", answer({ mask: BOTH, uid: [1, 0xffffffff], text: "0 0 1\0" })],
		["no NUL at the end", answer({ mask: BOTH, uid: [1, 0], text: "0 0 1" })],
		["one text too many", answer({ mask: BOTH, uid: [2, 0], text: "0 0 1\0" })],
		["four thousand million texts", answer({ mask: BOTH, uid: [0xffffffff, 0], text: "\0\0\0\0" })],
	];
	for (const [name, buffer] of cases) {
		assert.throws(
			() => parseStatmount(buffer),
			(error: UsernsError) => error.code === "ERR_USERNS_READ_MOUNTS" && error.hint !== undefined,
			name,
		);
	}
	// Texts that are not three numbers are no mapping, and do not make the listing fail.
	for (const text of ["0 0\0", "a b c\0", "0 0 4294967296\0", "0 0 1\n5 5 5\0", "\u00ff\0"]) {
		const mount = parseStatmount(answer({ mask: BOTH, uid: [1, 0], gid: [1, 0], text }));
		const mapping = mappingOf(mount);
		if (text.includes("\n")) continue; // two lines in one text are two extents
		assert.match(String(mapping), /map unknown/, JSON.stringify(text));
	}
});

test("property: any bytes give a result or ERR_USERNS_READ_MOUNTS, and no other error", () => {
	check(
		fc.property(fc.uint8Array({ minLength: 0, maxLength: 700 }), fc.boolean(), (bytes, likely) => {
			const buffer = new ArrayBuffer(bytes.length);
			new Uint8Array(buffer).set(bytes);
			if (likely && bytes.length >= 512) {
				const view = new DataView(buffer);
				view.setUint32(0, bytes.length, true);
				view.setBigUint64(8, BOTH, true);
				view.setUint32(152, view.getUint32(152, true) % 8, true);
				view.setUint32(156, view.getUint32(156, true) % 256, true);
			}
			try {
				mappingOf(parseStatmount(buffer));
			} catch (error) {
				assert.ok(error instanceof UsernsError, String(error));
				assert.equal(error.code, "ERR_USERNS_READ_MOUNTS");
			}
		}),
	);
});
