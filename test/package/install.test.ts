import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
	chmodSync,
	cpSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OTHER_UID } from "../support/needs.ts";
import { packed } from "../support/packed.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "tool:cc"] as const;
const NAME = `userns.linux-${process.arch}.node`;

interface Project {
	folder: string;
	/** The installed package. */
	installed: string;
	/** Runs a program in the project. `env` has only what is given: no HOME, and a PATH without a compiler. */
	run(command: string, ...args: string[]): { status: number | null; stdout: string; stderr: string };
}

/** A folder of programs that does not have a compiler. */
function toolsOf(folder: string): string {
	const tools = join(folder, "tools");
	mkdirSync(tools);
	for (const tool of ["sh", "env"]) symlinkSync(`/bin/${tool}`, join(tools, tool));
	symlinkSync(process.execPath, join(tools, "node"));
	return tools;
}

/** A project of a user that installs the tarball: without scripts, a compiler and a network. */
function withProject(work: (project: Project) => void): void {
	const folder = mkdtempSync(join(tmpdir(), "userns-project-"));
	try {
		chmodSync(folder, 0o755);
		writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }');
		const flags = [
			"--ignore-scripts",
			"--offline",
			"--no-audit",
			"--no-fund",
			"--cache",
			join(folder, "cache"),
		];
		const npm = spawnSync("npm", ["install", ...flags, packed().tarball], { cwd: folder, encoding: "utf8" });
		assert.equal(npm.status, 0, npm.stderr);
		const PATH = toolsOf(folder);
		const run = (command: string, ...args: string[]) =>
			spawnSync(command, args, { cwd: folder, encoding: "utf8", env: { PATH } });
		work({ folder, installed: join(folder, "node_modules/userns"), run });
	} finally {
		rmSync(folder, { recursive: true });
	}
}

/** Creates a namespace, and runs a program in it. Prints the error's code and hint instead. */
const USE = `
import { UserNamespace } from "userns";
try {
	const id = process.geteuid();
	const namespace = UserNamespace.createSync({ uidMappings: [{ containerID: 0, hostID: id, size: 1 }],
		gidMappings: [{ containerID: 0, hostID: process.getegid(), size: 1 }] });
	const child = namespace.spawn("/usr/bin/id", ["-u"]);
	child.stdout.on("data", (text) => process.stdout.write(String(text)));
	child.on("error", (error) => console.log(error.code, error.message, error.hint));
} catch ({ code, message, hint }) { console.log(code + "\\n" + message + "\\n" + hint); }
`;

/** Runs USE in the project, with these flags of Node. */
function use({ folder, run }: Project, ...flags: string[]): string {
	writeFileSync(join(folder, "use.js"), USE);
	const { stdout, stderr, status } = run("node", ...flags, "use.js");
	assert.equal(status, 0, stderr);
	return stdout;
}

test(
	"an installed package works without a compiler, scripts and a network, and brings no other package",
	{
		needs,
	},
	() =>
		withProject((project) => {
			const { folder, run } = project;
			assert.equal(use(project), "0\n");
			const others = readdirSync(join(folder, "node_modules")).filter((name) => !name.startsWith("."));
			assert.deepEqual(others, ["userns"]);
			const { version } = JSON.parse(readFileSync(join(project.installed, "package.json"), "utf8"));
			assert.equal(run("node_modules/.bin/userns", "--version").stdout, `${version}\n`);
		}),
);

test(
	"userns build compiles a lost add-on in place, with the headers of the package, as the hint says",
	{
		needs,
		timeout: 120_000,
	},
	() =>
		withProject((project) => {
			const { installed, folder, run } = project;
			const file = join(installed, "prebuilds", NAME);
			rmSync(file);
			const said = use(project);
			assert.match(
				said,
				/^ERR_USERNS_NATIVE_MISSING\n.*there is no file .*\nInstall the package again, or compile the add-on: "node .*userns\.js build"/,
			);
			const without = run("node_modules/.bin/userns", "build");
			assert.equal(without.status, 1);
			assert.match(without.stderr, /no working C compiler: .*\nhint: Install one/);
			const built = spawnSync(join(folder, "node_modules/.bin/userns"), ["build"], {
				cwd: folder,
				encoding: "utf8",
			});
			assert.equal(built.stderr, "");
			assert.equal(built.stdout, `${file}: compiled for every C library\n`);
			assert.equal(use(project), "0\n");
		}),
);

test(
	"an add-on that needs a symbol of a newer C library is told apart, and userns build replaces it",
	{
		needs,
		timeout: 120_000,
	},
	() =>
		withProject((project) => {
			const { installed, folder } = project;
			const file = join(installed, "prebuilds", NAME);
			const source = join(folder, "newer.c");
			writeFileSync(
				source,
				"int no_c_library_has_this(void); int f(void) { return no_c_library_has_this(); }\n",
			);
			assert.equal(spawnSync("cc", ["-shared", "-fPIC", "-Wl,-z,now", source, "-o", file]).status, 0);
			assert.match(
				use(project),
				/^ERR_USERNS_NATIVE_MISSING\n.*lacks a symbol: .*no_c_library_has_this.*\nInstall the package again, or compile the add-on: "node .*userns\.js build"/,
			);
			assert.equal(spawnSync(join(folder, "node_modules/.bin/userns"), ["build"], { cwd: folder }).status, 0);
			assert.equal(use(project), "0\n");
		}),
);

test("the permission model of Node is named, with the flags that it needs", { needs }, () =>
	withProject((project) => {
		const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
		const flag =
			major >= 24 || (major === 22 && minor >= 13) || (major === 23 && minor >= 5)
				? "--permission"
				: "--experimental-permission";
		const everything = [flag, "--allow-fs-read=*", "--allow-child-process", "--no-warnings"];
		const said = /^ERR_USERNS_NATIVE_MISSING\n.*\nStart Node\.js with --allow-addons and --allow-fs-read/;
		assert.match(use(project, ...everything), said);
		assert.match(
			use(
				project,
				flag,
				`--allow-fs-read=${project.folder}/use.js`,
				`--allow-fs-read=${project.installed}/dist/*`,
				`--allow-fs-read=${project.installed}/package.json`,
				`--allow-fs-read=${project.folder}/package.json`,
				"--no-warnings",
			),
			said,
		);
		assert.match(use(project, "--no-addons"), said);
		// The hint, followed. Node 20 has no --allow-addons, and its model forbids add-ons.
		if (process.allowedNodeEnvironmentFlags.has("--allow-addons"))
			assert.equal(use(project, ...everything, "--allow-addons"), "0\n");
	}),
);

test(
	"a mount with noexec, and a file that may not be read, are told apart",
	{
		needs: [...needs, "root", "mounts", "user", "tool:setpriv"],
	},
	() =>
		withProject((project) => {
			const { folder, installed } = project;
			writeFileSync(join(folder, "use.js"), USE);
			const script = `mount -t tmpfs -o noexec,mode=755 none "$0" && cp -a "$1/." "$0" && cd "$2" && exec "$3" use.js`;
			const copy = join(folder, "copy");
			cpSync(installed, copy, { recursive: true });
			const args = [
				"--mount",
				"--propagation",
				"private",
				"sh",
				"-c",
				script,
				installed,
				copy,
				folder,
				process.execPath,
			];
			const { stdout, stderr } = spawnSync("unshare", args, { encoding: "utf8" });
			assert.match(
				stdout,
				/^ERR_USERNS_NATIVE_MISSING\n.*is on a mount with the option noexec\nInstall the package on a file system/,
				stderr,
			);
			chmodSync(join(installed, "prebuilds", NAME), 0o600);
			const other = spawnSync(process.execPath, ["use.js"], {
				cwd: folder,
				uid: OTHER_UID,
				gid: OTHER_UID,
				encoding: "utf8",
			});
			assert.match(
				other.stdout,
				/^ERR_USERNS_NATIVE_MISSING\n.*may not be read\nLet this user read it/,
				other.stderr,
			);
		}),
);
