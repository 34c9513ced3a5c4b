import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { type IdMap, Mapping, UsernsError } from "../../src/index.ts";
import { extents } from "../support/arbitrary.ts";
import { root, sh } from "../support/child.ts";
import { OTHER_UID } from "../support/needs.ts";
import { SLOWER } from "../support/slower.ts";
import { test } from "../support/test.ts";

const CASES = 10_000;

/** Numbers at the edges of the kernel's 32 bits and of its "no ID". */
const odd = fc.constantFrom(
	0,
	1,
	5,
	OTHER_UID,
	65536,
	2 ** 31 - 1,
	2 ** 31,
	2 ** 31 + 1,
	2 ** 32 - 2,
	2 ** 32 - 1,
	2 ** 32,
	2 ** 32 + 1,
	2 ** 32 + OTHER_UID,
);
const wild = fc.array(fc.record({ containerID: odd, hostID: odd, size: fc.oneof(fc.constant(1), odd) }), {
	minLength: 1,
	maxLength: 7,
});

/** Lists with almost 340 lines, and lists with almost 4095 bytes of text. */
const long = fc
	.tuple(fc.integer({ min: 339, max: 341 }), fc.integer({ min: 0, max: 200 }))
	.map(([count, offset]) =>
		Array.from({ length: count }, (_, i) => ({
			containerID: offset + i * 2,
			hostID: offset + i * 3,
			size: 1,
		})),
	);
const full = fc.tuple(fc.integer({ min: 4094, max: 4096 }), fc.boolean()).map(([bytes, up]) => {
	// 12 bytes a line, "1000 1000 1\n"; the last line fills the rest.
	const list: IdMap[] = Array.from({ length: 340 }, (_, i) => ({
		containerID: 1000 + i * 2,
		hostID: 1000 + i * 2,
		size: 1,
	}));
	const length = () => list.map((e) => `${e.containerID} ${e.hostID} ${e.size}`).join("\n").length;
	for (let i = list.length - 1; length() < bytes && i > 0; i--) {
		const last = list[i] as IdMap;
		const missing = bytes - length();
		last.hostID = (up ? 1e5 : 1e6) * 10 ** Math.min(missing - 1, 2) + i * 2;
		if (length() > bytes) last.hostID = 10 ** Math.min(3 + missing, 8) + i * 2;
	}
	return list;
});
/** Valid lists with one number changed, so that most of a list is valid and something may be invalid. */
const spoilt = fc
	.tuple(
		extents(),
		fc.nat(),
		fc.constantFrom("containerID", "hostID", "size"),
		fc.oneof(odd, fc.integer({ min: 0, max: 12 })),
	)
	.map(([list, which, column, value]) =>
		list.map((extent, i) => (i === which % list.length ? { ...extent, [column]: value } : extent)),
	);
const own = fc
	.tuple(odd, fc.constantFrom(OTHER_UID, OTHER_UID + 1, OTHER_UID + 2 ** 32), fc.constantFrom(1, 1, 1, 2, 0))
	.map(([containerID, hostID, size]) => [{ containerID, hostID, size }]);

const lists: fc.Arbitrary<IdMap[]> = fc.oneof(
	{ weight: 40, arbitrary: extents() },
	{ weight: 25, arbitrary: spoilt },
	{ weight: 20, arbitrary: wild },
	{ weight: 12, arbitrary: own },
	{ weight: 2, arbitrary: long },
	{ weight: 1, arbitrary: full },
);

interface Verdict {
	error: number;
	shown: string;
}

/** The kernel's verdict on all texts, in one run of write-maps. */
function judge(program: string, texts: readonly string[], user?: number): Verdict[] {
	const input = Buffer.concat(
		texts.map((text) => {
			const bytes = Buffer.alloc(4 + text.length);
			bytes.writeUInt32LE(text.length);
			bytes.write(text, 4, "latin1");
			return bytes;
		}),
	);
	const result = spawnSync(program, user === undefined ? [] : [`${user}`], {
		input,
		maxBuffer: 1 << 30,
		timeout: 100_000 * SLOWER,
		killSignal: "SIGKILL",
	});
	assert.equal(result.status, 0, String(result.stderr));
	const verdicts: Verdict[] = [];
	for (let at = 0; at < result.stdout.length; ) {
		const error = result.stdout.readInt32LE(at);
		const size = result.stdout.readUInt32LE(at + 4);
		verdicts.push({ error, shown: result.stdout.toString("latin1", at + 8, at + 8 + size) });
		at += 8 + size;
	}
	assert.equal(verdicts.length, texts.length);
	return verdicts;
}

function validate(list: readonly IdMap[]): Mapping | undefined {
	try {
		return Mapping.from({ uidMappings: list });
	} catch (error) {
		assert.ok(error instanceof UsernsError);
		return undefined;
	}
}

function raw(list: readonly Readonly<IdMap>[]): string {
	return list.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}`).join("\n");
}

/** The kernel's map, line by line, in the same notation. */
function lines(shown: string): string[] {
	return shown
		.split("\n")
		.filter((line) => line !== "")
		.map((line) => line.trim().split(/\s+/).join(" "));
}

/**
 * A valid map is written in its canonical form, and the kernel must show exactly the same. An invalid map is written
 * unchanged, and the kernel must refuse it or change it: 4294967296 becomes 0 without an error.
 */
function agree(
	t: { diagnostic(text: string): void },
	allowed: (mapping: Mapping) => boolean,
	user?: number,
): void {
	const seed = Number(process.env.USERNS_SEED ?? Date.now() % 0x7fffffff);
	const folder = mkdtempSync(join(tmpdir(), "userns-kernel-"));
	chmodSync(folder, 0o755);
	try {
		const program = join(folder, "write-maps");
		sh("cc", "-O2", "-o", program, join(root, "test/support/programs/write-maps.c"));
		const samples = fc
			.sample(lists, { numRuns: 2 * CASES, seed })
			.filter((list) => list.length > 0)
			.slice(0, CASES);
		const mappings = samples.map(validate);
		const verdicts = judge(
			program,
			mappings.map((mapping, i) => (mapping ? mapping.procText("uid") : raw(samples[i] as IdMap[]))),
			user,
		);
		let accepted = 0;
		let changed = 0;
		verdicts.forEach(({ error, shown }, i) => {
			const mapping = mappings[i];
			const list = samples[i] as IdMap[];
			const what = `seed ${seed}, case ${i}: ${raw(list).replaceAll("\n", ", ").slice(0, 300)}`;
			if (mapping !== undefined && allowed(mapping)) {
				assert.equal(error, 0, what);
				assert.deepEqual(lines(shown), raw(mapping.uidMappings).split("\n"), what);
				assert.equal(Mapping.fromProc(shown, "").id, mapping.id, what);
				accepted++;
			} else if (error === 0) {
				const asGiven = [...lines(shown)].sort().join() === [...raw(list).split("\n")].sort().join();
				assert.ok(!asGiven, `the kernel took unaltered what the validator refuses: ${what}`);
				changed++;
			}
		});
		const share = `${accepted} accepted, ${verdicts.length - accepted - changed} refused, ${changed} changed by the kernel`;
		t.diagnostic(`seed ${seed}: ${share}`);
		// The control: the generator makes both kinds.
		assert.ok(
			samples.length === CASES && accepted > CASES / 100 && verdicts.length - accepted > CASES / 20,
			share,
		);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

const needs = ["linux", "root", "tool:cc"] as const;

test(
	`${CASES} maps as root: a map is valid if and only if the kernel takes it unaltered`,
	{ needs, timeout: 120_000 },
	(t) => agree(t, () => true),
);

test(
	`${CASES} maps as an ordinary user: a map is valid if and only if the kernel takes it unaltered`,
	{ needs: [...needs, "user"], timeout: 120_000 },
	(t) =>
		agree(
			t,
			({ uidMappings: [first, second] }) =>
				second === undefined && first?.hostID === OTHER_UID && first.size === 1,
			OTHER_UID,
		),
);
