import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

/** SUB_UID_MIN and SUB_UID_MAX of login.defs(5) by default: useradd(8) gives these IDs to users. */
const GIVEN_TO_USERS = [100_000, 600_100_000] as const;
/** https://systemd.io/UIDS-GIDS/: IDs that systemd uses for containers and for foreign images. */
const SYSTEMD = [
	[524_288, 1_879_048_191],
	[2_147_352_576, 2_147_418_111],
] as const;
/** ldap_idmap_range_min and ldap_idmap_range_max of sssd-ldap(5). */
const SSSD = [200_000, 2_000_200_000] as const;
const EXAMPLE = [2_100_000_000, 2_100_065_535] as const;

function filesBelow(folder: string): string[] {
	return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
		.filter((name) => /\.(md|ts|mjs)$/.test(name))
		.map((name) => join(root, folder, name));
}

/** What a user of the package reads: documents, examples, and the help texts, hints and doc comments of the source. */
const READ = [
	...[join(root, "README.md"), join(root, "scripts/start.mjs")],
	...[...filesBelow("docs"), ...filesBelow("examples"), ...filesBelow("src")],
	// This page records the numbers with which a fault was seen.
].filter((file) => relative(root, file) !== "docs/security-review.md");

/** This page is full of measured figures, so only an ID within a mapping counts there. */
const FIGURES = "docs/performance.md";

/** Whole numbers in decimal; neither a hexadecimal number, a colour nor a figure with commas. */
const NUMBER = /(?<![\w#.,])\d{6,10}(?![\w,])/g;
const IN_MAPPING = /(?<=\d:)\d{6,10}(?=:\d)/g;

test("no document, example, hint or help text uses an ID that useradd gives to a user", () => {
	assert.ok(READ.length > 100, String(READ.length));
	const wrong = READ.flatMap((path) => {
		const file = relative(root, path);
		return [...readFileSync(path, "utf8").matchAll(file === FIGURES ? IN_MAPPING : NUMBER)]
			.filter(([id]) => Number(id) >= GIVEN_TO_USERS[0] && Number(id) < GIVEN_TO_USERS[1])
			.map(([id]) => `${file}: ${id}`);
	});
	assert.deepEqual(wrong, []);
});

test("the documents' range lies in no range that a program gives out by default", () => {
	for (const [first, last] of [GIVEN_TO_USERS, ...SYSTEMD, SSSD]) {
		assert.ok(EXAMPLE[1] < first || EXAMPLE[0] > last, `${first}–${last}`);
	}
	assert.ok(readFileSync(join(root, "README.md"), "utf8").includes(`0:${EXAMPLE[0]}:65536`));
	if (!existsSync("/etc/login.defs")) return;
	const maxima = [...readFileSync("/etc/login.defs", "utf8").matchAll(/^\s*SUB_[UG]ID_MAX\s+(\d+)/gm)];
	for (const [, most] of maxima) assert.ok(Number(most) < EXAMPLE[0], most);
});
