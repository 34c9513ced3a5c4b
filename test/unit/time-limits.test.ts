import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { nativeCalls } from "../support/native-source.ts";
import { test } from "../support/test.ts";

/*
 * native/kernel/time-limits.h has every timeout of a process. A timer that comes before its timeout would turn the timeout
 * into a signal, so the header asserts the order.
 */

const header = readFileSync(join(root, "native/kernel/time-limits.h"), "utf8");
const limits = new Map(
	[...header.matchAll(/^#define (\w+_MS) (\d+)$/gm)].map(([, name = "", value]) => [name, Number(value)]),
);

function compiles(text: string): boolean {
	const flags = ["-std=gnu11", "-x", "c", "-fsyntax-only", "-"];
	const { error, status } = spawnSync("cc", flags, { input: text, stdio: ["pipe", "ignore", "ignore"] });
	if (error) throw error;
	return status === 0;
}

test("the header does not compile with timers shorter than their timeouts", {
	needs: ["linux", "tool:cc"],
}, () => {
	assert.ok(compiles(header));
	const wrong: [name: string, value: number][] = [
		["NEWIDMAP_TIMER_MS", limits.get("NEWIDMAP_TIMEOUT_MS") ?? 0],
		["BOUNDED_CHILD_TIMER_MS", limits.get("BOUNDED_CHILD_TIMEOUT_MS") ?? 0],
		[
			"BOUNDED_CHILD_TIMER_MS",
			(limits.get("BOUNDED_CHILD_TIMEOUT_MS") ?? 0) + (limits.get("BOUNDED_CHILD_DEATH_MS") ?? 0),
		],
	];
	for (const [name, value] of wrong) {
		const changed = header.replace(new RegExp(`^(#define ${name}) \\d+$`, "m"), `$1 ${value}`);
		assert.notEqual(changed, header);
		assert.equal(compiles(changed), false, `${name} ${value}`);
	}
});

test("every timer and every timeout above 100 ms in native/ uses a constant of the header", () => {
	const timers = nativeCalls().filter(({ name, inside }) => name === "child_die_after" && inside !== name);
	assert.ok(timers.length >= 2);
	for (const { file, args } of timers) assert.match(args, /^[A-Z_]+_TIMER_MS$/, file);
	const files = readdirSync(join(root, "native"), { recursive: true, encoding: "utf8" }).filter((file) =>
		/\.[ch]$/.test(file),
	);
	assert.ok(files.includes("kernel/time-limits.h"));
	const seconds = files.flatMap((file) => {
		const text = readFileSync(join(root, "native", file), "utf8");
		const found = file === "kernel/time-limits.h" ? [] : text.matchAll(/^#define (\w+_(?:M?S)) (\d+)$/gm);
		// No message and no timer depends on a shorter one.
		return [...found].filter(
			([, name = "", value]) => Number(value) * (name.endsWith("_MS") ? 1 : 1000) >= 100,
		);
	});
	assert.deepEqual(seconds, []);
	assert.equal(
		nativeCalls().filter(({ name }) => /^(timer_create|timer_settime|alarm)$/.test(name)).length,
		0,
	);
});

test("messages and documents state the timeouts of the header", () => {
	const helpers = readFileSync(join(root, "src/namespace/newidmap.ts"), "utf8");
	assert.ok(
		helpers.includes(`did not end within ${(limits.get("NEWIDMAP_TIMEOUT_MS") ?? 0) / 1000} seconds`),
	);
	const security = readFileSync(join(root, "docs/security.md"), "utf8");
	assert.match(
		security,
		new RegExp(`hangs is killed after ${(limits.get("NEWIDMAP_TIMEOUT_MS") ?? 0) / 1000} seconds`),
	);
});
