import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
	chmodSync,
	existsSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "../support/child.ts";
import { test } from "../support/test.ts";

const MODULE = pathToFileURL(join(root, "scripts/test-packages.mjs")).href;
const { CLIENTS, PACKAGES, TOOLS } = (await import(MODULE)) as {
	CLIENTS: Record<string, string[]>;
	PACKAGES: Record<string, string[]>;
	TOOLS: string[];
};

/** Those that only the machines of `npm run test:kernels` have. */
const MACHINES = (await import(pathToFileURL(join(root, "scripts/kernels/machines.mjs")).href)) as {
	TOOLS: string[];
};

/** Logs its arguments, checks its input, and fails as $WORKS says: "yes", "no", or unless `update` was called. */
const APT_GET = `#!/bin/sh
folder=\${0%/*}
for argument; do case $argument in install | update) operation=$argument ;; esac; done
read -r answer
echo "$operation,$DEBIAN_FRONTEND,$answer: $*" >> "$folder/calls"
case $operation,$WORKS in
update,updated) : > "$folder/updated" ;;
install,updated) [ -e "$folder/updated" ] || { echo "E: Unable to locate package x" >&2; exit 100; } ;;
*,no) echo "E: Temporary failure resolving" >&2; exit 100 ;;
esac
`;

/** Runs the set-up of `npm test` where `tools` and this apt-get are the only programs; `calls` is its log. */
function setUp(
	env: Record<string, string>,
	tools: readonly string[] = [],
): { lines: string[]; calls: string[] } {
	const folder = mkdtempSync(join(tmpdir(), "userns-packages-"));
	try {
		for (const name of ["apt-get", ...tools]) {
			writeFileSync(join(folder, name), name === "apt-get" ? APT_GET : "");
			chmodSync(join(folder, name), 0o755);
		}
		const code = `const packages = await import(${JSON.stringify(MODULE)});
			packages.installTestPackages();
			packages.printMissingPackages();`;
		const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
			encoding: "utf8",
			env: { PATH: folder, ...env },
			input: "yes\n",
		});
		assert.deepEqual([status, stderr], [0, ""]);
		const calls = join(folder, "calls");
		const noted = existsSync(calls) ? readFileSync(calls, "utf8").trim().split("\n") : [];
		return { lines: stdout.split("\n").slice(0, -1), calls: noted };
	} finally {
		rmSync(folder, { recursive: true });
	}
}

const MISSING = /^Some tests are skipped because these packages are missing: .*\bstrace\b/;

test("every program that a test declares is in the list from which npm test, test:clients or test:kernels installs", () => {
	const declared = new Set<string>();
	const folder = join(root, "test");
	for (const name of readdirSync(folder, { recursive: true, encoding: "utf8" })) {
		if (!name.endsWith(".ts")) continue;
		for (const [, tool = ""] of readFileSync(join(folder, name), "utf8").matchAll(/"tool:([\w.-]+)"/g))
			declared.add(tool);
	}
	assert.ok(declared.size > 10);
	const known = [...TOOLS, ...Object.values(CLIENTS).flat(), ...MACHINES.TOOLS];
	assert.deepEqual(
		[...declared].filter((tool) => !known.includes(tool)),
		[],
	);
	for (const list of [CLIENTS, PACKAGES]) assert.deepEqual(Object.keys(list), Object.keys(list).sort());
});

test(".ci/run has no list of its own: it installs nothing, and promises the programs of the list", () => {
	const text = readFileSync(join(root, ".ci/run"), "utf8");
	assert.match(text, /\$\(node scripts\/test-packages\.mjs\)/);
	assert.doesNotMatch(text, /apt-get|tool:/);
	const { stdout } = spawnSync(process.execPath, [join(root, "scripts/test-packages.mjs")], {
		encoding: "utf8",
	});
	assert.deepEqual(
		stdout.trim().split(" "),
		TOOLS.map((tool) => `tool:${tool}`),
	);
});

test("if everything is installed, npm test prints nothing and does not call apt-get", {
	needs: ["linux", "path:/usr/include/stdio.h"],
}, () => {
	assert.deepEqual(setUp({}, TOOLS), { lines: [], calls: [] });
});

test("as root, npm test lists and installs missing packages, without a question and without an update", {
	needs: ["linux", "root"],
}, () => {
	const { lines, calls } = setUp({ WORKS: "yes" });
	assert.match(lines[0] ?? "", /^Installing .*USERNS_TEST_INSTALL=0/);
	assert.match(lines[1] ?? "", /\bacl\b.*\bstrace\b/);
	assert.equal(calls.length, 1);
	assert.match(calls[0] ?? "", /^install,noninteractive,: -qy .*--no-remove .*\bacl\b.*\bstrace\b/);
});

test("if apt-get does not know the packages, npm test fetches its index once", {
	needs: ["linux", "root"],
}, () => {
	const { lines, calls } = setUp({ WORKS: "updated" });
	assert.deepEqual(
		calls.map((call) => call.split(":")[0]),
		["install,noninteractive,", "update,noninteractive,", "install,noninteractive,"],
	);
	assert.ok(!lines.some((line) => line.startsWith("apt-get failed")));
});

test("without a network npm test prints one line each for the reason and the packages, and goes on", {
	needs: ["linux", "root"],
}, () => {
	const { lines, calls } = setUp({ WORKS: "no" });
	assert.equal(calls.length, 2);
	assert.equal(lines.length, 4);
	assert.equal(lines[2], "apt-get failed: E: Temporary failure resolving");
	assert.match(lines[3] ?? "", MISSING);
});

test("with USERNS_TEST_INSTALL=0 or as another user npm test prints one line and does not call apt-get", {
	needs: ["linux"],
}, () => {
	const { lines, calls } = setUp({ USERNS_TEST_INSTALL: "0" });
	assert.deepEqual([lines.length, calls], [1, []]);
	assert.match(lines[0] ?? "", MISSING);
	if (process.geteuid?.() !== 0) assert.deepEqual(setUp({}), { lines, calls });
});
