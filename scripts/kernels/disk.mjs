// Makes the disks of an emulated machine: the base with Debian and Node, an initramfs, and a disk with the project.
import {
	chmodSync,
	copyFileSync,
	cpSync,
	existsSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { buildNative } from "../build-native.mjs";
import { root } from "../setup.mjs";
import { writeInitramfs } from "./archive.mjs";
import { makeBase, makeImage } from "./base.mjs";
import { MACHINES } from "./machines.mjs";
import { quiet } from "./packages.mjs";

/** The files and folders of the project that the tests use. */
const PROJECT = [
	...[
		"package.json",
		"README.md",
		"CHANGELOG.md",
		"docs",
		"examples",
		"native",
		"scripts",
		"src",
		"dist",
		"test",
	],
	...["commander", "fast-check", "pure-rand", "node-api-headers"].map((name) => `node_modules/${name}`),
];

/**
 * Compiles the programs that the tests would compile; guest.sh and cc.sh use them in place of the compiler. NAME-….c
 * without a main() is a part of NAME.c. The machine compiles other files without a main() (a library, a program without
 * a C library).
 */
function compileHelpers(folder, compiler) {
	const source = join(root, "test/support/programs");
	const files = readdirSync(source).filter((name) => name.endsWith(".c"));
	const isProgram = (file) => /\bint main\(/.test(readFileSync(join(source, file), "utf8"));
	const programs = files.filter(isProgram);
	mkdirSync(folder);
	for (const program of programs) {
		const name = program.slice(0, -2);
		const parts = files.filter((file) => file.startsWith(`${name}-`) && !programs.includes(file));
		const sources = [program, ...parts].map((file) => join(source, file));
		quiet(compiler, ["-O2", "-o", join(folder, name), ...sources]);
	}
}

function makeProject(folder, { build, compiler = "cc" }, script) {
	mkdirSync(folder);
	for (const part of [...PROJECT, `prebuilds/userns.${build}.node`]) {
		const from = join(root, part);
		if (existsSync(from)) cpSync(from, join(folder, part), { recursive: true, preserveTimestamps: true });
	}
	writeFileSync(join(folder, "run.sh"), script);
	compileHelpers(join(folder, "build/helpers"), compiler);
}

function makeInitramfs(folder, base, file) {
	for (const place of ["bin", "dev", "modules"]) mkdirSync(join(folder, place), { recursive: true });
	copyFileSync(join(base, "busybox"), join(folder, "bin/busybox"));
	chmodSync(join(folder, "bin/busybox"), 0o755);
	for (const name of readdirSync(join(base, "early"))) {
		copyFileSync(join(base, "early", name), join(folder, "modules", name));
	}
	copyFileSync(join(root, "scripts/kernels/init.sh"), join(folder, "init"));
	chmodSync(join(folder, "init"), 0o755);
	writeInitramfs(folder, file);
}

/** Makes the disks in `work`, unless they are in the cache. The machine runs `script` in the project's folder. */
export async function makeDisks(architecture, script, work, cache) {
	const machine = MACHINES[architecture];
	const { build, compiler } = machine;
	buildNative(build.replace("linux-", ""), compiler);
	const base = makeBase(architecture, cache);
	const project = join(work, "project.ext4");
	makeProject(join(work, "project"), machine, script);
	makeImage(join(work, "project"), project, "256M");
	const initramfs = join(work, "initramfs");
	makeInitramfs(join(work, "early"), base, initramfs);
	return {
		kernel: join(base, "vmlinuz"),
		version: readFileSync(join(base, "version"), "utf8"),
		initramfs,
		base: join(base, "image"),
		project,
	};
}
