// Unpacks kernels and the modules that the machines load.

import { createHash } from "node:crypto";
import {
	chmodSync,
	copyFileSync,
	cpSync,
	existsSync,
	mkdirSync,
	readdirSync,
	readFileSync,
	rmSync,
	writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { makeOnce } from "./cache.mjs";
import { EARLY_MODULES, KERNELS, MODULES, VIRTIOFSD } from "./machines.mjs";
import { modules } from "./modules.mjs";
import { debianSuite, quiet } from "./packages.mjs";

/** Copies the modules of a machine, below the same names, and the kernel's lists of all. Returns its version. */
function keepModules(all, kept) {
	const [version] = readdirSync(all);
	const [from, to] = [all, kept].map((folder) => join(folder, version));
	for (const file of modules(from, MODULES)) {
		const target = join(to, file);
		mkdirSync(dirname(target), { recursive: true });
		copyFileSync(join(from, file), target);
	}
	for (const list of readdirSync(from).filter((name) => name.startsWith("modules."))) {
		copyFileSync(join(from, list), join(to, list));
	}
	return version;
}

/**
 * The name of the dynamic loader in the kernel's file is replaced by that of the newer one in the working directory of the process,
 * because the kernel starts its own file again and would not find the loader as its parent.
 */
function useLoader(file) {
	const program = readFileSync(file);
	const name = Buffer.from("/lib64/ld-linux-x86-64.so.2");
	const at = program.indexOf(name);
	if (at < 0) throw new Error(`${file} has another dynamic loader`);
	Buffer.from("./ld.so".padEnd(name.length, "\0")).copy(program, at);
	writeFileSync(file, program);
}

/** `linux`, the C library, `modules`, and `virtiofsd` with its own C library. */
function unpackUml({ suite, largeFpu, virtiofs }, folder, cache) {
	const debian = debianSuite(suite, "amd64", cache);
	const unpacked = join(folder, "unpacked");
	debian.unpack(["user-mode-linux", "libc6"], unpacked);
	copyFileSync(join(unpacked, "usr/bin/linux.uml"), join(folder, "linux"));
	chmodSync(join(folder, "linux"), 0o755);
	const libraries = ["lib", "usr/lib"]
		.map((each) => join(unpacked, each, "x86_64-linux-gnu"))
		.filter(existsSync);
	mkdirSync(join(folder, "libc"));
	for (const library of libraries)
		cpSync(library, join(folder, "libc"), { recursive: true, verbatimSymlinks: true });
	useLoader(join(folder, "linux"));
	copyFileSync(join(folder, "libc/ld-linux-x86-64.so.2"), join(folder, "ld.so"));
	chmodSync(join(folder, "ld.so"), 0o755);
	if (largeFpu) {
		const source = fileURLToPath(new URL("large-fpu.c", import.meta.url));
		quiet("cc", ["-O2", "-shared", "-fPIC", "-o", join(folder, "large-fpu.so"), source]);
	}
	if (virtiofs) {
		const newer = debianSuite(VIRTIOFSD.suite, "amd64", cache);
		newer.unpack(newer.withDependencies(VIRTIOFSD.packages), join(folder, "virtiofsd"));
	}
	const version = keepModules(join(unpacked, "usr/lib/uml/modules"), join(folder, "modules"));
	rmSync(unpacked, { recursive: true });
	return version;
}

/** `vmlinuz`, `modules`, and those that the disk needs in `early`, in load order. */
function unpackDebianKernel({ suite, arch }, folder, cache) {
	const debian = debianSuite(suite, arch, cache);
	const unpacked = join(folder, "unpacked");
	// Since 7.x, the package of the image is divided into several.
	const isKernel = (name) => /^linux-(image|binary|modules|base)-\d/.test(name);
	debian.unpack(debian.withDependencies([`linux-image-${arch}`]).filter(isKernel), unpacked);
	const all = ["lib/modules", "usr/lib/modules"].map((each) => join(unpacked, each)).find(existsSync);
	const version = keepModules(all, join(folder, "modules"));
	mkdirSync(join(folder, "early"));
	modules(join(all, version), EARLY_MODULES).forEach((module, i) => {
		const target = join(folder, "early", `${String(i).padStart(2, "0")}-${basename(module)}`);
		copyFileSync(join(all, version, module), target);
		if (target.endsWith(".xz")) quiet("xz", ["--decompress", target]); // the early insmod reads no compressed module
	});
	const image = ["boot", `usr/lib/modules/${version}`]
		.flatMap((each) => [`vmlinuz-${version}`, "vmlinuz"].map((name) => join(unpacked, each, name)))
		.find(existsSync);
	copyFileSync(image, join(folder, "vmlinuz"));
	rmSync(unpacked, { recursive: true });
	return version;
}

/** Returns the folder of a kernel, with its files and `version`. */
export function makeKernel(name, cache) {
	const kernel = KERNELS[name];
	const hash = createHash("sha256").update(JSON.stringify([kernel, MODULES, EARLY_MODULES, VIRTIOFSD]));
	return makeOnce(cache, `kernel-${name}`, hash.digest("hex").slice(0, 16), (folder) => {
		const unpack = kernel.uml ? unpackUml : unpackDebianKernel;
		writeFileSync(join(folder, "version"), unpack(kernel, folder, cache));
	});
}
