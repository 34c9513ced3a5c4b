import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OTHER_UID } from "../support/needs.ts";
import { packed } from "../support/packed.ts";
import { test } from "../support/test.ts";

/*
 * Package managers differ in the modes that they give to files, and in how they lay node_modules out. The long form only,
 * because npx fetches them (npm run test:package).
 */

const needs = ["linux", "long", "root", "user"] as const;

/** The arguments that add a tarball to a project, and the project's files besides package.json. */
const MANAGERS: Record<string, { command: string[]; files?: Record<string, string> }> = {
	npm: { command: ["npm", "install", "--no-audit", "--no-fund"] },
	"pnpm 10": { command: ["npx", "--yes", "pnpm@10", "add"] },
	"yarn 1": { command: ["npx", "--yes", "yarn@1", "add"] },
	"yarn 4": {
		command: ["npx", "--yes", "@yarnpkg/cli-dist@4", "add"],
		files: {
			"yarn.lock": "",
			".yarnrc.yml": "nodeLinker: node-modules\nenableTelemetry: false\nenableGlobalCache: false\n",
		},
	},
	bun: { command: ["npx", "--yes", "bun@1", "add"] },
};

const USE = `import { UserNamespace } from "userns";
UserNamespace.createSync("u:0:${OTHER_UID}:1,g:0:${OTHER_UID}:1").spawn("/usr/bin/id", ["-u"], { stdio: "inherit" });
`;

for (const [name, { command, files = {} }] of Object.entries(MANAGERS)) {
	test(`an ordinary user can use what root has installed with ${name}`, { needs, timeout: 300_000 }, () => {
		const folder = mkdtempSync(join(tmpdir(), "userns-manager-"));
		try {
			chmodSync(folder, 0o755);
			const project = join(folder, "project");
			mkdirSync(project);
			for (const [file, text] of Object.entries({
				"package.json": '{ "name": "x", "version": "1.0.0", "private": true, "type": "module" }',
				"use.js": USE,
				...files,
			})) {
				writeFileSync(join(project, file), text);
			}
			const [program = "", ...args] = command;
			const from = name === "yarn 4" ? `userns@file:${packed().tarball}` : packed().tarball;
			const added = spawnSync(program, [...args, from], { cwd: project, encoding: "utf8" });
			assert.equal(added.status, 0, added.stdout + added.stderr);
			const bin = realpathSync(join(project, "node_modules/userns/dist/src/cli/userns.js"));
			assert.equal(statSync(bin).mode & 0o777, 0o755);
			const options = { cwd: project, uid: OTHER_UID, gid: OTHER_UID, encoding: "utf8" } as const;
			const used = spawnSync(process.execPath, ["use.js"], options);
			assert.equal(used.stdout, "0\n", used.stderr);
			const help = spawnSync("node_modules/.bin/userns", ["--version"], options);
			assert.equal(help.status, 0, help.stderr);
		} finally {
			rmSync(folder, { recursive: true });
		}
	});
}
