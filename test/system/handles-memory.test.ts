import assert from "node:assert/strict";
import { ask } from "../support/child.ts";
import { LONGEST } from "../support/long-mapping.ts";
import { test } from "../support/test.ts";

test("a cached handle of 340 + 340 extents takes at most 12 KB, with either setgroups and on either way", {
	needs: ["linux", "root"],
}, () => {
	const bytes = ask<Record<string, number>>(
		`${LONGEST}
		const COUNT = 400;
		const each = async (options, sync) => {
			const handles = new Handles();
			const before = used();
			if (sync) {
				for (let i = 0; i < COUNT; i++) handles.getSync(longest(i), options).close();
			} else {
				const got = Array.from({ length: COUNT }, (_, i) => handles.get(longest(i), options));
				for (const namespace of await Promise.all(got)) namespace.close();
			}
			await new Promise((resolve) => setTimeout(resolve, 10));
			const bytes = (used() - before) / COUNT;
			handles.release();
			return bytes;
		};
		await each({}, true);
		await each({}, false);
		print({
			sync: await each({}, true),
			later: await each({}, false),
			allow: await each({ setgroups: "allow" }, true),
		});`,
		{ nodeFlags: ["--expose-gc"] },
	);
	for (const [name, each] of Object.entries(bytes)) assert.ok(each <= 12_288, `${name}: ${each} bytes`);
});
