import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { root, sh } from "../support/child.ts";
import { packed } from "../support/packed.ts";
import { test } from "../support/test.ts";

const needs = ["linux"] as const;
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

/** The functions of scripts/portable.mjs, which has no declarations. */
interface Portable {
	ARCHITECTURES: string[];
	checkPortable(file: string, arch: string, compiler: string, forbidden?: string[]): string[];
}

function portable(): Promise<Portable> {
	return import(join(root, "scripts/portable.mjs"));
}

const CROSS = ["tool:aarch64-linux-gnu-gcc", "tool:cc"] as const;

test("the package has the files of this list and no other", { needs }, () => {
	const { files } = packed();
	const patterns = [
		/^(LICENSE|README\.md|CHANGELOG\.md|SECURITY\.md|package\.json)$/,
		/^dist\/src\/library\/userns\.js$/,
		/^dist\/userns\.d\.ts$/,
		/^dist\/src\/cli\/userns\.js$/,
		/^dist\/include\/((js_native|node)_api(_types)?\.h|LICENSE)$/,
		/^dist\/man\/userns[\w-]*\.1$/,
		/^prebuilds\/userns\.linux-(x64|arm64)\.node$/,
		/^native\/[\w/-]+\.[ch]$/,
		/^native\/[\w/-]*README\.md$/,
		/^scripts\/(build-native|portable)\.mjs$/,
		/^docs\/[\w-]+\.md$/,
		/^examples\/[\w-]+\.ts$/,
	];
	const others = files.filter(({ path }) => !patterns.some((pattern) => pattern.test(path)));
	assert.deepEqual(others, []);
	const unused = patterns.filter((pattern) => !files.some(({ path }) => pattern.test(path)));
	assert.deepEqual(
		unused.filter((pattern) => !pattern.source.includes("man")),
		[],
	);
});

/** The anchors of a document's headings, as Markdown renderers write them. */
function anchors(text: string): string[] {
	return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) =>
		heading
			.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, "$1")
			.toLowerCase()
			.replaceAll(/[^\p{L}\p{N}\s_-]/gu, "")
			.trim()
			.replaceAll(" ", "-"),
	);
}

test("every link of a document of the package leads to a file of the package, and to a heading in it", {
	needs,
}, () => {
	const files = packed().files.map(({ path }) => path);
	const documents = files.filter((path) => path.endsWith(".md"));
	const read = (path: string) => readFileSync(join(root, path), "utf8");
	const wrong: string[] = [];
	let followed = 0;
	for (const name of documents) {
		const text = read(name).replaceAll(/^```.*?^```$/gms, "");
		for (const [, link = ""] of text.matchAll(/\]\(((?!https?:)[^)\s]+)\)/g)) {
			const [path = "", anchor] = link.split("#");
			const to = path === "" ? name : join(dirname(name), path);
			followed++;
			const isFolder = to.endsWith("/") && files.some((file) => file.startsWith(to));
			const isThere =
				isFolder || (files.includes(to) && (anchor === undefined || anchors(read(to)).includes(anchor)));
			if (!isThere) wrong.push(`${name}: ${link}`);
		}
	}
	assert.ok(followed > 30, `${followed} links`);
	assert.deepEqual(wrong, []);
});

test("the library in one file exports the same names as its modules, and classes and functions have their names", {
	needs,
}, async () => {
	const modules = await import("../../src/index.ts");
	const library = await import(join(root, manifest.exports["."].default));
	assert.deepEqual(Object.keys(library).sort(), Object.keys(modules).sort());
	const values = Object.entries<{ name?: string }>(library);
	const functions = values.filter(([, value]) => typeof value === "function");
	assert.deepEqual(
		functions.map(([, { name }]) => name),
		functions.map(([name]) => name),
	);
});

test("the package is smaller than 500 KB, and its files have the modes of an installed package", {
	needs,
}, () => {
	const { size, files } = packed();
	assert.ok(size < 500_000, `${size} bytes`);
	for (const { path, mode } of files) {
		// npm makes every installed file readable, but keeps the x bits: with 0700, only root could execute the command (0744).
		if (path === manifest.bin.userns) assert.equal(mode & 0o777, 0o755, path);
		else assert.equal(mode & 0o111, 0, path);
	}
});

test("an installation runs no script, installs no other package, and works on every platform that npm accepts", () => {
	for (const name of ["preinstall", "install", "postinstall"])
		assert.equal(manifest.scripts[name], undefined);
	for (const name of ["dependencies", "optionalDependencies", "bundleDependencies", "gypfile"]) {
		assert.equal(manifest[name], undefined, name);
	}
	// Mapping works everywhere, and a program for Linux is type-checked on other systems: with `os`, npm refuses to install there.
	for (const name of ["os", "cpu", "libc"]) assert.equal(manifest[name], undefined, name);
});

test("the native files of the package pass the checks of the build", {
	needs: [...needs, ...CROSS],
}, async () => {
	const { ARCHITECTURES, checkPortable } = await portable();
	for (const arch of ARCHITECTURES) {
		const compiler = arch === process.arch ? "cc" : "aarch64-linux-gnu-gcc";
		const file = join(root, "prebuilds", `userns.linux-${arch}.node`);
		assert.deepEqual(checkPortable(file, arch, compiler, [root, tmpdir(), "/home/", "/root"]), []);
	}
});

test("the checks of the build refuse a file that needs a library, another symbol, a path or an executable stack", {
	needs: [...needs, "tool:cc"],
}, async () => {
	const { checkPortable } = await portable();
	const folder = mkdtempSync(join(tmpdir(), "userns-portable-"));
	try {
		const [source, file] = [join(folder, "x.c"), join(folder, "x.node")];
		writeFileSync(
			source,
			'#include <sys/random.h>\nconst char *path = "/there/it/is";\nint f(void) { return (int)getrandom(&path, 1, 0); }\n',
		);
		const flags = ["-shared", "-fPIC", "-fno-stack-protector", "-Wl,-z,execstack,-z,norelro,-z,lazy"];
		sh("cc", ...flags, source, "-o", file);
		const wrong = checkPortable(file, process.arch, "cc", ["/there/it/is"]).join("\n");
		for (const expected of [
			/the symbol getrandom@GLIBC_2\.25 is not in the list/,
			/it names a library/,
			/it has no full RELRO/,
			/its stack is executable/,
			/it has no stack protector/,
			/it needs glibc 2\.25/,
			/it contains \/there\/it\/is/,
		]) {
			assert.match(wrong, expected);
		}
	} finally {
		rmSync(folder, { recursive: true });
	}
});

test("a build in another folder, with another umask, time zone and home, gives the same bytes", {
	needs: [...needs, ...CROSS],
	timeout: 300_000,
}, () => {
	const script = JSON.stringify(join(root, "scripts/prebuild.mjs"));
	const code = `(await import(${script})).compareBuilds(process.argv[1])`;
	for (const arch of ["x64", "arm64"]) {
		const printed = sh(process.execPath, "--input-type=module", "-e", code, arch);
		assert.match(
			printed,
			new RegExp(`^prebuilds/userns\\.linux-${arch}\\.node: \\d+ bytes, the same in two builds\n$`),
		);
	}
});
