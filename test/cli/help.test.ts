import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { packageForAll, root, userns } from "../support/child.ts";
import { helpPages } from "../support/help-pages.ts";
import { olderThan } from "../support/needs.ts";
import { askOrdinary } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

test("every help page fits 80 columns, names its command, and has a summary and one example", () => {
	const pages = helpPages();
	assert.equal(pages.size, 26);
	for (const [command, page] of pages) {
		for (const line of page.split("\n")) assert.ok(line.length <= 80, line);
		assert.ok(page.startsWith(`Usage: ${command} [options]`), command);
		assert.match(page, /\n\n[A-Z][^\n]{10,}\.\n\n/, command);
		assert.equal(page.match(/^Example:$/gm)?.length, 1, command);
	}
});

/** The words of the command of a page's example. */
function example(page: string): string[] {
	const line = /^Example:\n {2}userns (.*)$/m.exec(page)?.[1] ?? "";
	return line.split(" ");
}

test("an example uses the command and options of its page, and prints what the page says", () => {
	const pages = helpPages();
	for (const [command, page] of pages) {
		const words = example(page);
		assert.ok(`userns ${words.join(" ")}`.startsWith(command), command);
		const own = [...pages].filter(([name]) => `userns ${words.join(" ")} `.startsWith(`${name} `)).at(-1);
		for (const word of words.filter((each) => /^--./.test(each)))
			assert.match(own?.[1] ?? "", new RegExp(`^  ${word} `, "m"), command);
		if (!command.startsWith("userns map ")) continue;
		const { status, stdout } = userns(...words);
		assert.equal(status, 0, command);
		const printed = /^prints: (.*)$/m.exec(page)?.[1];
		if (printed !== undefined) assert.equal(stdout, `${printed}\n`, command);
	}
});

test("the hint of wrong usage names the command that was used", () => {
	for (const command of helpPages().keys()) {
		const { stderr } = userns(...command.split(" ").slice(1), "--no-such-option");
		assert.match(stderr, new RegExp(`\nhint: See "${command} --help".\n$`), command);
	}
	assert.match(userns("map", "translate", "0:1:1").stderr, /hint: See "userns map translate --help"/);
});

const COMMAND = join(packageForAll(), "dist/src/cli/userns.js");

test("the example of each page for root runs as it stands, in this order", {
	needs: ["linux", "root", "mounts", "linux:6.3", "fs:overlay", "tool:unshare"],
}, () => {
	const pages = helpPages();
	const line = (command: string) => `userns ${example(pages.get(`userns ${command}`) ?? "").join(" ")}\n`;
	const script = `set -e
userns() { "${process.execPath}" "${COMMAND}" "$@"; }
for each in /srv /mnt /run; do mount -t tmpfs -o mode=755 tmpfs $each; done
mkdir /srv/data /srv/a /srv/b /mnt/data /mnt/o
${line("supports")}${line("mount")}${line("umount")}${line("overlay")}userns umount /mnt/o
${line("create")}userns umount /run/userns-a
userns ${example(pages.get("userns") ?? "").join(" ")}
sleep 1000 & pid=$!; trap 'kill $pid' EXIT
${line("mounts")}${line("show")}`.replaceAll("4711", "$pid");
	const args = ["--mount", "--propagation", "private", "sh", "-c", script];
	const { status, stdout, stderr } = spawnSync("unshare", args, { encoding: "utf8" });
	assert.equal(stderr, "");
	assert.equal(status, 0);
	assert.match(stdout, /^\/srv\/data .*: yes/);
	const shown = olderThan("6.15") === undefined ? "uid, gid +0–65535" : "map unknown on this kernel";
	assert.match(stdout, new RegExp(`^/mnt/data +tmpfs +${shown}`, "m"));
	assert.match(stdout, /^inode +\d+$/m);
});

test("the example of exec starts a shell as root of a namespace, for an ordinary user", {
	needs: ["linux", "ordinary"],
}, () => {
	const words = example(helpPages().get("userns exec") ?? "");
	const stdout = askOrdinary<string>(`
		import { spawnSync } from "node:child_process";
		const args = ${JSON.stringify([COMMAND, ...words])};
		const { stdout, stderr } = spawnSync(process.execPath, args, { input: "id -u; echo $$", encoding: "utf8" });
		console.log(JSON.stringify(stdout + stderr));`);
	assert.equal(stdout, "0\n2\n");
});

test("a suggestion follows an unknown command or option at every level, with exit status 2, for exec 125", () => {
	const cases: [args: string, suggestion: string][] = [
		["mont", "mount"],
		["mont --help", "mount"],
		["help mont", "mount"],
		["--verison", "--version"],
		["mount --red-only", "--read-only"],
		["umount --recursiv", "--recursive"],
		["versoin", "version"],
		["completion --hlep", "--help"],
		["map convrt", "convert"],
		["map convrt --help", "convert"],
		["help map convrt", "convert"],
		["map convert --form", "--from"],
		["exec --mapp", "--map"],
	];
	for (const [args, suggestion] of cases) {
		const { status, stdout, stderr } = userns(...args.split(" "));
		assert.equal(stdout, "", args);
		assert.match(
			stderr,
			new RegExp(`^userns: unknown .* \\(Did you mean ${suggestion}\\?\\)\nhint: See .*\n$`),
		);
		assert.equal(status, args.startsWith("exec") ? 125 : 2, args);
	}
});

test("version prints the versions of the package, the kernel and Node.js, and whether the add-on loads", {
	needs: ["linux"],
}, () => {
	const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
	const facts = JSON.parse(userns("version", "--json").stdout);
	assert.deepEqual(facts, {
		version,
		platform: "linux",
		kernel: release(),
		arch: process.arch,
		node: process.versions.node,
		nodeApi: Number(process.versions.napi),
		addon: { loads: true },
	});
	assert.match(
		userns("version").stdout,
		/^userns +\d.*\nkernel +linux .*\nNode\.js +.*\nnative add-on +loads\n$/,
	);
	assert.equal(userns("--version").stdout, `${version}\n`);
});

test("version says why the add-on does not load, and ends with 0", { needs: ["linux"] }, () => {
	const flags = ["--no-addons", join(root, "dist/src/cli/userns.js"), "version"];
	const { status, stdout, stderr } = spawnSync(process.execPath, flags, { encoding: "utf8" });
	assert.equal(stderr, "");
	assert.equal(status, 0);
	assert.match(stdout, /\nnative add-on +cannot be loaded: .*\nhint: Start Node\.js with .*\n$/);
});
