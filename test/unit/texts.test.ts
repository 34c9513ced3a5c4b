import assert from "node:assert/strict";
import fc from "fast-check";
import { Mapping, type MappingSyntax, UsernsError } from "../../src/index.ts";
import { check, isCanonical, SYNTAXES } from "../support/arbitrary.ts";
import { test } from "../support/test.ts";

test("property: no text makes any grammar hang or throw anything but a UsernsError", () => {
	const word = fc.constantFrom(
		"0",
		"1",
		"65536",
		"4294967295",
		"99999999999999999999",
		":",
		",",
		" ",
		"-",
		"#",
		";",
		"@",
		"+",
		"u",
		"g",
		"b",
		"u:",
		"b:",
		"both",
		"uid",
		"idmap=",
		"uids=",
		"gids=",
		"\n",
		"\n\n",
		"\t",
		"\\040",
		"/",
		"{",
		"}",
		"[",
		"]",
		'"',
		"uidMappings",
		"--uidmap",
		"--gidmap=",
		"é",
		"\0",
		"\u2028",
		"alpha",
	);
	const texts = fc.oneof(
		fc.array(word, { maxLength: 24 }).map((words) => words.join("")),
		fc.string({ unit: "binary", maxLength: 60 }),
	);
	const names = fc.constantFrom<MappingSyntax | undefined>(undefined, "subid", ...SYNTAXES);
	check(
		fc.property(texts, names, fc.boolean(), (text, syntax, withContext) => {
			const context = withContext
				? { parent: "0:1000:1,1:100000:10", rootless: true, container: "0:5:10", user: { name: "alpha" } }
				: undefined;
			try {
				const mapping = Mapping.parse(text, syntax, context);
				assert.ok(isCanonical(mapping.uidMappings));
			} catch (error) {
				assert.ok(error instanceof UsernsError, String(error));
				assert.ok(error.hint);
			}
		}),
		10_000,
	);
	// The time is proportional to the length: a grammar that backtracks would take quadratic time.
	for (const unit of [
		"0:1:1,",
		" ",
		"0 1 1\n",
		"b:",
		"+",
		"@",
		"both 0 0\n",
		"0:1:",
		"#\n",
		"-",
		"alpha:1:0\n",
	]) {
		for (const syntax of [undefined, "subid", ...SYNTAXES] as const) {
			assert.throws(() => Mapping.parse(unit.repeat(20_000), syntax), UsernsError, `${syntax} ${unit}`);
		}
	}
	// Extents that cannot be merged, so that a quadratic scan of them would show here.
	const units: [MappingSyntax, (i: number) => string, string][] = [
		["colon", (i) => `${i * 3}:${i * 2}:1`, ","],
		["proc", (i) => `${i * 3} ${i * 2} 1`, "\n"],
		["incus", (i) => `both ${i * 3} ${i * 2}`, "\n"],
		["lxc", (i) => `b:${i * 3}:${i * 2}:1`, " "],
		["podman", (i) => `${i * 3}:${i * 2}`, " "],
		["podman", (i) => `+${i * 3}:${i * 2}`, " "],
		["podman", (i) => `${i * 3}:@${i % 500}`, " "],
		["subid", (i) => `alpha:${i * 2}:1`, "\n"],
	];
	for (const [syntax, unit, separator] of units) {
		const text = Array.from({ length: 50_000 }, (_, i) => unit(i)).join(separator);
		const context = { parent: Mapping.from("0:0:1000").toJSON() };
		assert.throws(() => Mapping.parse(text, syntax, context), UsernsError, syntax);
	}
});

test("property: no text makes parse hang or throw anything but a UsernsError", () => {
	const piece = fc.oneof(
		fc.constantFrom(
			"u:",
			"g:",
			"b:",
			":",
			",",
			"0",
			"1",
			"65536",
			"4294967294",
			"4294967295",
			"4294967296",
			"-",
			" ",
		),
		fc.string({ maxLength: 3 }),
	);
	check(
		fc.property(fc.array(piece, { maxLength: 30 }), (list) => {
			try {
				Mapping.parse(list.join(""));
			} catch (error) {
				assert.ok(error instanceof UsernsError);
			}
		}),
		5000,
	);
});
