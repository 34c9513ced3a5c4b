import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Cause } from "../../src/inspect/cause.ts";
import { causes } from "../../src/inspect/causes.ts";
import { FIXES, fileSystemFix } from "../../src/inspect/file-systems.ts";
import { SYSCTL_CAUSES } from "../../src/inspect/kernel-causes.ts";
import { ERRNO } from "../../src/native/errno.ts";
import { SINCE } from "../../src/native/missing-call.ts";
import { root } from "../support/child.ts";
import { cases, causesOn, machine } from "../support/machines.ts";
import { test } from "../support/test.ts";

/* The documents have what the table of causes has. With USERNS_ACCEPT=1 the tests write it. */

const CAUSES = join(root, "docs/causes.md");
const ERRORS = join(root, "docs/errors.md");

function accept(file: string, change: (text: string) => string): void {
	const text = readFileSync(file, "utf8");
	if (process.env.USERNS_ACCEPT === "1") writeFileSync(file, change(text));
	assert.equal(readFileSync(file, "utf8"), change(text), file);
}

function acceptBlock(file: string, name: string, text: string): void {
	const block = new RegExp(`(?<=<!-- ${name} -->\n)[\\s\\S]*(?=<!-- end of ${name} -->)`);
	accept(file, (all) => {
		assert.match(all, block);
		return all.replace(block, () => `\n${text}\n\n`);
	});
}

/** The text of a cause: the first machine of the list that has it and no other. */
function line(id: string): string {
	const [, refusal, change] = cases.find(([, , , found]) => found.length === 1 && found[0] === id) ?? [];
	// Found only if the file does not exist, so no machine of the list has it.
	if (refusal === undefined) return `- \`${id}\`: /etc/subuid does not exist. Fix: \`touch /etc/subuid\`.`;
	const [{ message, fix, command = "" } = { message: "", fix: "" }] = causesOn(refusal, machine(change));
	const isKnown = command === "" || fix.includes(command) || command.includes(`${process.pid}`);
	return `- \`${id}\`: ${message}. Fix: ${fix}${isKnown ? "" : `: \`${command}\``}.`;
}

test("docs/causes.md has each cause, as it is found on a machine", () => {
	const lines = Object.keys(causes).map(line);
	acceptBlock(CAUSES, "causes", lines.join("\n"));
});

const LIMITS = (cause: Cause) => cause.errors?.includes(ERRNO.ENOSPC) ?? false;
const of =
	(...operations: Cause["explains"][number][]) =>
	(cause: Cause) =>
		cause.explains.some((each) => operations.includes(each));

/** The codes of errors, with the causes that their hints can name. */
const CODES: Record<string, (cause: Cause, id: string) => boolean> = {
	ERR_USERNS_CREATE: (cause, id) =>
		of("create", "write a map")(cause) && !SYSCTL_CAUSES.includes(id) && !LIMITS(cause),
	ERR_USERNS_RESTRICTED: (_, id) => SYSCTL_CAUSES.includes(id),
	ERR_USERNS_HELPER_MISSING: (_, id) => id === "helper-missing" || id === "helper-relative-path",
	ERR_USERNS_HELPER_FAILED: (cause, id) =>
		of("newuidmap")(cause) && !["helper-missing", "helper-relative-path", "unknown-user"].includes(id),
	ERR_USERNS_LIMIT: LIMITS,
	ERR_USERNS_MOUNT: of("mount", "map a mount", "join"),
	ERR_USERNS_SPAWN: of("run", "in the namespace"),
};

test("docs/errors.md names the causes of each code", () => {
	accept(ERRORS, (text) =>
		Object.entries(CODES).reduce((all, [code, has]) => {
			const ids = Object.entries(causes).flatMap(([id, cause]) => (has(cause, id) ? [`\`${id}\``] : []));
			const line = new RegExp(
				`(?<=\n## ${code}\n(?:(?!\n## )[\\s\\S])*\nCauses(?: of EPERM(?: and EACCES)?)?: ).*(?=\\.\n)`,
			);
			assert.match(all, line, code);
			return all.replace(line, () => ids.join(", "));
		}, text),
	);
});

test("every id of a cause in the source is in a table of docs/causes.md, and no other", () => {
	const rows = [...readFileSync(CAUSES, "utf8").matchAll(/^[|-] `([a-z-]+)`/gm)].map(([, id = ""]) => id);
	const files = ["subid/rootless", "doctor/doctor", "doctor/explain-error", "cli/try-directory"];
	const source = files.map((file) => readFileSync(join(root, `src/${file}.ts`), "utf8")).join("\n");
	const others = [
		...source.matchAll(
			/\bid(?:: | = )(?:.*? \? )?"([a-z-]+)"(?: : "([a-z-]+)")?|because\(\s*"([a-z-]+)"|, "(suid-[a-z]+)"|known \?\? "([a-z-]+)"/g,
		),
	].flatMap(([, ...ids]) => ids.filter((id) => id !== undefined));
	assert.ok(others.length >= 8);
	assert.deepEqual(rows.sort(), [...new Set([...Object.keys(causes), ...others])].sort());
});

const FEATURES = join(root, "docs/kernel-features.md");

test("docs/kernel-features.md has the versions in hints, and the advice for each file system", () => {
	const calls = [...new Set(Object.values(SINCE))].map((version) => {
		const names = Object.keys(SINCE).filter((call) => SINCE[call] === version);
		return `- Linux ${version}: ${names.map((name) => `\`${name}\``).join(", ")}`;
	});
	acceptBlock(FEATURES, "calls", calls.join("\n"));
	const advice = FIXES.map(([types, fix]) => `- ${types.join(", ")}: ${fix}.`);
	acceptBlock(FEATURES, "file-systems", [...advice, `- any other: ${fileSystemFix("other")}.`].join("\n"));
});

/** The first version of Linux that has a call, where the table of kernel-features.md has a row for the call alone. */
test("the versions in hints are those of the features in docs/kernel-features.md", () => {
	const text = readFileSync(FEATURES, "utf8");
	let compared = 0;
	for (const [, calls = "", version] of text.matchAll(/^\| (`\w+`(?:, `\w+`)*) +\| ([\d.]+) /gm)) {
		for (const [, call = ""] of calls.matchAll(/`(\w+)`/g)) {
			if (!Object.hasOwn(SINCE, call)) continue;
			compared++;
			assert.equal(SINCE[call], version, call);
		}
	}
	assert.ok(compared >= 7, `${compared} calls`);
});
