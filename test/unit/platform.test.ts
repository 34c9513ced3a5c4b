import assert from "node:assert/strict";
import { ask, runScript } from "../support/child.ts";
import { test } from "../support/test.ts";

/** Makes Node report another platform before the import, so that the add-on is not loaded. */
function elsewhere(platform: string): { nodeFlags: string[] } {
	const code = `Object.defineProperty(process, "platform", { value: ${JSON.stringify(platform)} });`;
	return { nodeFlags: ["--import", `data:text/javascript,${encodeURIComponent(code)}`] };
}

for (const platform of ["darwin", "win32"]) {
	test(`on ${platform} the package imports, mappings work, and all other functions say that they need Linux`, () => {
		const answer = ask<{ id: string; codes: string[]; hints: number }>(
			`const errors = [];
			const fail = async (f) => { try { await f(); errors.push({ code: "none" }); } catch (e) { errors.push(e); } };
			await fail(() => new userns.Handles().get("0:1:1"));
			await fail(() => new userns.Handles().getSync("0:1:1"));
			await fail(() => userns.UserNamespace.create("0:1:1"));
			await fail(() => userns.UserNamespace.createSync("0:1:1"));
			await fail(() => userns.UserNamespace.open(1));
			await fail(() => userns.UserNamespace.open("/x"));
			await fail(() => userns.mountIdmapped({ source: "/x", mapping: "0:1:1" }));
			await fail(() => userns.unmount("/x"));
			console.log(JSON.stringify({ id: userns.Mapping.from("1:2:3,0:1:1").id, codes: errors.map((e) => e.code),
				hints: errors.filter((e) => e.hint).length }));`,
			elsewhere(platform),
		);
		assert.equal(answer.id, "0:1:4");
		assert.deepEqual(answer.codes, Array(8).fill("ERR_USERNS_UNSUPPORTED_PLATFORM"));
		assert.equal(answer.hints, 8);
	});
}

/** Each has its own message. The test runs without an add-on, so no case can reach the kernel. */
const bad: [input: string, message: RegExp][] = [
	["{}", /must have the key uidMappings or gidMappings, but has no key/],
	["{ uidMappings: [], gidMappings: null }", /maps nothing/],
	['"0:1:2,1:5:1"', /overlap: both have containerID 1/],
	['"0:1:2,5:2:1"', /overlap: both have hostID 2/],
	["one({ size: 0 })", /size must be at least 1/],
	["one({ hostID: -1 })", /hostID must not be negative/],
	["one({ containerID: 1.5 })", /containerID must be a whole number/],
	["one({ size: NaN })", /size must be a whole number, not NaN/],
	["one({ size: Infinity })", /size must be a whole number/],
	["one({ hostID: 2 ** 32 })", /must fit in 32 bits/],
	["one({ hostID: 2 ** 32 - 1 })", /stands for "no ID"/],
	["one({ hostID: 2 ** 32 - 2, size: 2 })", /the last hostID is 4294967295/],
	['one({ size: "1" })', /size must be a number, not "1"/],
	["one({ size: 1n })", /size must be a number, not 1n/],
	["one({ size: undefined })", /size must be a number, not left out/],
	[
		"{ uidMappings: Array.from({ length: 341 }, (_, i) => ({ containerID: i * 2, hostID: i * 2, size: 1 })) }",
		/341 extents/,
	],
	[
		"{ uidMappings: Array.from({ length: 340 }, (_, i) => ({ containerID: 1e9 + i * 2, hostID: 2e9 + i * 2, size: 1 })) }",
		/bytes/,
	],
	['"0:1"', /column 4/],
	["null", /must be a Mapping/],
	["42", /must be a Mapping/],
	["[]", /must be a Mapping/],
];

test("each kind of wrong mapping is refused with its own message, and without a system call", () => {
	const calls = bad.map(([input]) => `() => handles.get(${input})`).join(",\n");
	const errors = ask<{ code: string; message: string; errno?: number }[]>(
		`const one = (change) => ({ uidMappings: [{ containerID: 0, hostID: 0, size: 1, ...change }] });
		const handles = new userns.Handles(); const errors = [];
		for (const call of [${calls}]) errors.push(await call().then(() => ({ code: "none", message: "" }), (e) => e.toJSON()));
		console.log(JSON.stringify(errors));`,
		elsewhere("darwin"),
	);
	errors.forEach(({ code, message, errno }, index) => {
		const [input, expected] = bad[index] as (typeof bad)[number];
		assert.equal(code, "ERR_USERNS_INVALID_MAPPING", input);
		assert.match(message, expected, input);
		assert.equal(errno, undefined);
	});
	assert.equal(new Set(errors.map(({ message }) => message)).size, bad.length);
});

test("an error says that there is no add-on for the processor", { needs: ["linux"] }, () => {
	const { status, stdout } = runScript(
		`Object.defineProperty(process, "arch", { value: "mips" });
		try { userns.UserNamespace.open(1); } catch (e) { console.log(e.code, e.hint); }`,
	);
	assert.equal(status, 0);
	assert.match(stdout, /^ERR_USERNS_NATIVE_MISSING Use a machine and a Node\.js for x64 or arm64\./);
});
