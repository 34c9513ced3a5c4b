// Makes a disk with Debian and Node, once for each list of packages. Runs do not write to it.
import { createHash } from "node:crypto";
import {
	chmodSync,
	copyFileSync,
	existsSync,
	mkdirSync,
	readFileSync,
	rmSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PACKAGES as TEST_PACKAGES } from "../test-packages.mjs";
import { makeOnce } from "./cache.mjs";
import { ARCHITECTURES, NEWER, PACKAGES, SUITE } from "./machines.mjs";
import { debianSuite, quiet, unpackNode } from "./packages.mjs";

/** Moves /bin, /sbin, /lib and /lib64 below /usr, as an installation does, because the packages themselves contain both. */
function mergeUsr(disk) {
	for (const folder of ["bin", "sbin", "lib", "lib64"]) {
		mkdirSync(join(disk, "usr", folder), { recursive: true });
		if (existsSync(join(disk, folder))) {
			quiet("cp", ["-a", "--no-clobber", `${join(disk, folder)}/.`, join(disk, "usr", folder)]);
			rmSync(join(disk, folder), { recursive: true });
		}
		symlinkSync(`usr/${folder}`, join(disk, folder));
	}
}

/** Does the part of the packages' installation scripts that is needed here. */
function finishDebian(disk) {
	copyFileSync(join(disk, "usr/share/libc-bin/nsswitch.conf"), join(disk, "etc/nsswitch.conf"));
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
	for (const folder of ["dev", "proc", "sys", "run", "tmp", "mnt", "srv", "userns"]) {
		mkdirSync(join(disk, folder), { recursive: true });
	}
	chmodSync(join(disk, "tmp"), 0o1777);
	// The first process of User-Mode Linux. In an emulated machine, the initramfs does the same.
	const init =
		"#!/bin/bash\nmount -t ext4 -o noatime /dev/ubdb /userns && exec bash /userns/scripts/kernels/guest.sh\n";
	writeFileSync(join(disk, "start"), init, { mode: 0o755 });
	for (const folder of ["usr/share/doc", "usr/share/locale", "usr/share/man"]) {
		rmSync(join(disk, folder), { recursive: true, force: true });
	}
}

/** The programs of NEWER are started with their own dynamic loader and C library. */
function addNewer(disk, architecture, cache) {
	debianSuite(NEWER.suite, architecture, cache).unpack(NEWER.packages, join(disk, "opt/newer"));
	for (const program of NEWER.programs) {
		const start = `#!/bin/sh
newer=/opt/newer/usr
exec $newer/lib*/ld-linux-*.so.* --library-path $newer/lib/*-linux-gnu $newer/sbin/${program} "$@"
`;
		writeFileSync(join(disk, "usr/sbin", program), start, { mode: 0o755 });
	}
}

/** Makes an ext4 image of a folder, with its owners. */
export function makeImage(folder, image, size) {
	quiet("truncate", ["-s", size, image]);
	quiet("mkfs.ext4", ["-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d", folder, image]);
}

/** Returns the folder of the base: `image`, and `busybox` for an initramfs. */
export function makeBase(architecture, cache) {
	// The cross compiler is for a test of prebuilds, which no machine runs.
	const names = [...Object.keys(TEST_PACKAGES).filter((name) => !/aarch64|arm64/.test(name)), ...PACKAGES];
	const hash = createHash("sha256").update(JSON.stringify([process.version, SUITE, names, NEWER]));
	hash.update(readFileSync(fileURLToPath(import.meta.url)));
	return makeOnce(cache, `base-${architecture}`, hash.digest("hex").slice(0, 16), (base) => {
		const disk = join(base, "disk");
		const debian = debianSuite(SUITE, architecture, cache);
		debian.unpack(debian.withDependencies(names), disk);
		mergeUsr(disk);
		finishDebian(disk);
		addNewer(disk, architecture, cache);
		unpackNode(ARCHITECTURES[architecture].node, join(disk, "usr/local"));
		copyFileSync(join(disk, "bin/busybox"), join(base, "busybox"));
		makeImage(disk, join(base, "image"), "3G");
		rmSync(disk, { recursive: true });
	});
}
