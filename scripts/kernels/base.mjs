// Makes a disk with Debian and Node, once for each set of packages. Runs do not write to it.
import { createHash } from "node:crypto";
import {
	chmodSync,
	copyFileSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	renameSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { EARLY_MODULES, MACHINES, MODULES, PACKAGES } from "./machines.mjs";
import { modules } from "./modules.mjs";
import { debianPackages, quiet, unpackDebian, unpackNode } from "./packages.mjs";

const isKernel = (file) => basename(file).startsWith("linux-image-");

/** Does the part of the packages' installation scripts that is needed here. */
function finishDebian(disk) {
	for (const file of ["passwd", "group"]) {
		copyFileSync(join(disk, "usr/share/base-passwd", `${file}.master`), join(disk, "etc", file));
	}
	const links = {
		"usr/bin/awk": "mawk",
		"usr/bin/cc": "gcc",
		"bin/sh": "dash",
		"etc/mtab": "/proc/self/mounts",
	};
	for (const [link, target] of Object.entries(links)) {
		if (!existsSync(join(disk, link))) symlinkSync(target, join(disk, link));
	}
	for (const file of ["etc/subuid", "etc/subgid", "etc/shadow"]) writeFileSync(join(disk, file), "");
	for (const folder of ["dev", "proc", "sys", "run", "tmp", "mnt", "userns"]) {
		mkdirSync(join(disk, folder), { recursive: true });
	}
	chmodSync(join(disk, "tmp"), 0o1777);
}

/** Puts the kernel and what the initramfs needs into `base`, and the modules of the running system on the disk. */
function unpackKernel(files, base, disk) {
	const kernel = join(base, "kernel");
	unpackDebian(files.filter(isKernel), kernel);
	const [version] = readdirSync(join(kernel, "lib/modules"));
	const all = join(kernel, "lib/modules", version);
	const target = join(disk, "lib/modules", version);
	mkdirSync(target, { recursive: true });
	for (const module of modules(all, MODULES)) copyFileSync(module, join(target, basename(module)));
	for (const list of ["modules.order", "modules.builtin", "modules.builtin.modinfo"]) {
		copyFileSync(join(all, list), join(target, list));
	}
	mkdirSync(join(base, "early"));
	modules(all, EARLY_MODULES).forEach((module, i) => {
		copyFileSync(module, join(base, "early", `${String(i).padStart(2, "0")}-${basename(module)}`));
	});
	copyFileSync(join(kernel, "boot", `vmlinuz-${version}`), join(base, "vmlinuz"));
	copyFileSync(join(disk, "bin/busybox"), join(base, "busybox"));
	writeFileSync(join(base, "version"), version);
	rmSync(kernel, { recursive: true });
}

function fill(base, architecture, files) {
	const disk = join(base, "disk");
	mkdirSync(disk);
	unpackDebian(
		files.filter((file) => !isKernel(file)),
		disk,
	);
	finishDebian(disk);
	unpackNode(MACHINES[architecture].node, join(disk, "usr/local"));
	unpackKernel(files, base, disk);
	makeImage(disk, join(base, "image"), "3G");
	rmSync(disk, { recursive: true });
}

/** Makes an ext4 image of a folder, with its owners. */
export function makeImage(folder, image, size) {
	quiet("truncate", ["-s", size, image]);
	quiet("mkfs.ext4", ["-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d", folder, image]);
}

/** Returns the folder of the base: `image`, `vmlinuz`, `version`, `busybox`, and the modules in `early`, in load order. */
export function makeBase(architecture, cache) {
	const files = debianPackages(architecture, [`linux-image-${architecture}`, ...PACKAGES], cache);
	const names = files.map((file) => basename(file)).sort();
	const hash = createHash("sha256").update(JSON.stringify([process.version, names, EARLY_MODULES, MODULES]));
	for (const source of ["base.mjs", "modules.mjs", "packages.mjs"]) {
		hash.update(readFileSync(fileURLToPath(new URL(source, import.meta.url))));
	}
	const made = join(cache, architecture, `base-${hash.digest("hex").slice(0, 16)}`);
	if (existsSync(made)) return made;
	for (const name of readdirSync(join(cache, architecture))) {
		if (name.startsWith("base-")) rmSync(join(cache, architecture, name), { recursive: true });
	}
	const fresh = mkdtempSync(join(cache, architecture, "new-"));
	process.on("exit", () => rmSync(fresh, { recursive: true, force: true }));
	fill(fresh, architecture, files);
	renameSync(fresh, made);
	return made;
}
