// Makes what belongs to one run: the disk with the project, and the initramfs of an emulated machine.
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
import { dirname, join } from "node:path";
import { buildNative, CROSS } from "../build-native.mjs";
import { root } from "../setup.mjs";
import { writeInitramfs } from "./archive.mjs";
import { makeImage } from "./base.mjs";
import { ARCHITECTURES } from "./machines.mjs";
import { quiet, unpackNpm } from "./packages.mjs";

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
	...["commander", "fast-check", "pure-rand", "node-api-headers", "esbuild", ".bin/esbuild"].map(
		(name) => `node_modules/${name}`,
	),
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
	mkdirSync(folder, { recursive: true });
	for (const program of programs) {
		const name = program.slice(0, -2);
		const parts = files.filter((file) => file.startsWith(`${name}-`) && !programs.includes(file));
		const sources = [program, ...parts].map((file) => join(source, file));
		quiet(compiler, ["-D_GNU_SOURCE", "-O2", "-o", join(folder, name), ...sources]);
	}
}

/** Copies the program of esbuild. The packages of this machine have only that for its own processor. */
function copyEsbuild(folder, arch) {
	const path = `node_modules/@esbuild/linux-${arch}`;
	if (existsSync(join(root, path))) return cpSync(join(root, path), join(folder, path), { recursive: true });
	const { version } = JSON.parse(readFileSync(join(root, "node_modules/esbuild/package.json"), "utf8"));
	unpackNpm(`@esbuild/linux-${arch}@${version}`, join(folder, path));
}

/** Returns the file of the initramfs of an emulated machine. */
export function makeInitramfs(kernel, base, work) {
	const folder = join(work, "initramfs");
	for (const part of ["bin", "dev"]) mkdirSync(join(folder, part), { recursive: true });
	cpSync(join(kernel, "early"), join(folder, "modules"), { recursive: true });
	copyFileSync(join(dirname(base), "busybox"), join(folder, "bin/busybox"));
	chmodSync(join(folder, "bin/busybox"), 0o755);
	copyFileSync(join(root, "scripts/kernels/init.sh"), join(folder, "init"));
	chmodSync(join(folder, "init"), 0o755);
	writeInitramfs(folder, `${folder}.cpio`);
	return `${folder}.cpio`;
}

/**
 * Makes the disk with the project, the modules of the kernels, the programs of the tests, and the scripts in `runs`, of which a
 * machine runs one. Returns its file.
 */
export function makeProject(architecture, emulated, kernels, runs, work) {
	const { arch } = ARCHITECTURES[architecture];
	const compiler = arch === process.arch ? undefined : CROSS[arch].compiler;
	buildNative(arch, compiler);
	const folder = join(work, `project-${arch}`);
	mkdirSync(folder);
	for (const part of [...PROJECT, `prebuilds/userns.linux-${arch}.node`]) {
		const from = join(root, part);
		if (!existsSync(from)) continue;
		cpSync(from, join(folder, part), {
			recursive: true,
			preserveTimestamps: true,
			verbatimSymlinks: true,
		});
	}
	copyEsbuild(folder, arch);
	for (const kernel of kernels)
		cpSync(join(kernel, "modules"), join(folder, "build/modules"), { recursive: true });
	mkdirSync(join(folder, "build/runs"));
	for (const [name, script] of Object.entries(runs))
		writeFileSync(join(folder, `build/runs/${name}.sh`), script);
	// Only for an emulated CPU: User-Mode Linux compiles fast enough.
	if (emulated) compileHelpers(join(folder, "build/helpers"), compiler ?? "cc");
	makeImage(folder, `${folder}.ext4`, "512M");
	return `${folder}.ext4`;
}
