// Makes root file systems of other Debian versions, and one with musl, from packages. Installs nothing on this machine.
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
import { quiet, unpackDebian } from "../kernels/packages.mjs";
import { PACKAGES } from "../test-packages.mjs";
import { addMusl } from "./musl.mjs";

/** The root file systems: Debian's name of the version, the C library of Node.js in it, and what is added or left out. */
export const ROOTS = {
	// Its strace does not know mount_setattr(2).
	"Debian 11": { suite: "bullseye", libc: "libc6", without: ["strace"] },
	"Debian 12": { suite: "bookworm", libc: "libc6" },
	"Debian 13": { suite: "trixie", libc: "libc6" },
	musl: { suite: "trixie", libc: "musl", add: addMusl },
};

/** The file in a root file system that has the version of its C library, in the form of Debian. */
const LIBC = "etc/userns-libc";

/** What the tests use beside the programs of scripts/test-packages.mjs. */
const BASE = [
	...["base-files", "base-passwd", "bash", "coreutils", "dash", "findutils", "grep", "gzip", "libc-bin"],
	...["libatomic1", "libstdc++6", "login", "mawk", "passwd", "procps", "sed", "tar"],
];

/** Returns Debian's mirror that this machine uses. */
function mirror() {
	const format = ["--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages"];
	const uri = /^(\S+) Debian Debian$/m.exec(quiet("apt-get", ["indextargets", ...format]))?.[1];
	if (uri === undefined)
		throw new Error("the sources of apt-get(8) on this machine have no mirror of Debian");
	return uri;
}

/**
 * Downloads the packages of one version of Debian with all their dependencies, and returns their files. apt-get(8) works on the
 * state of an empty machine in the folder.
 */
function download(suite, packages, folder) {
	for (const each of ["lists/partial", "archives/partial"])
		mkdirSync(join(folder, each), { recursive: true });
	const list = join(folder, "sources.list");
	const keys = "/usr/share/keyrings/debian-archive-keyring.gpg";
	writeFileSync(list, `deb [signed-by=${keys}] ${mirror()} ${suite} main\n`);
	writeFileSync(join(folder, "status"), "");
	const settings = {
		"APT::Architecture": "amd64",
		"APT::Architectures": "amd64",
		"APT::Install-Recommends": "false",
		"APT::Sandbox::User": "root",
		"Acquire::Retries": "3",
		"Dir::State": folder,
		"Dir::State::lists": join(folder, "lists"),
		"Dir::State::status": join(folder, "status"),
		"Dir::Cache": folder,
		"Dir::Cache::archives": join(folder, "archives"),
		"Dir::Etc::sourcelist": list,
		"Dir::Etc::sourceparts": "-",
	};
	const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
	quiet("apt-get", [...options, "-qy", "update"]);
	quiet("apt-get", [...options, "-qy", "install", "--download-only", ...packages]);
	return readdirSync(join(folder, "archives"))
		.filter((file) => file.endsWith(".deb"))
		.map((file) => join(folder, "archives", file));
}

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

/** Makes a root file system of ROOTS in the cache, once, and returns its folder. */
export function makeRoot(name, cache) {
	const { suite, libc, without = [], add } = ROOTS[name];
	const wanted = [...BASE, ...Object.keys(PACKAGES), libc].filter((each) => !without.includes(each));
	const hash = createHash("sha256").update(JSON.stringify([suite, wanted]));
	const sources = ["roots.mjs", "musl.mjs", "libstdc++-on-musl.c"];
	for (const file of sources) hash.update(readFileSync(fileURLToPath(new URL(file, import.meta.url))));
	const prefix = `${name.replace(" ", "-")}-`;
	const root = join(cache, `${prefix}${hash.digest("hex").slice(0, 16)}`);
	if (existsSync(root)) return root;
	mkdirSync(cache, { recursive: true });
	for (const old of readdirSync(cache).filter((each) => each.startsWith(prefix)))
		rmSync(join(cache, old), { recursive: true });
	const fresh = mkdtempSync(join(cache, "new-"));
	try {
		chmodSync(fresh, 0o755);
		const state = join(fresh, "var/apt");
		const files = download(suite, wanted, state);
		unpackDebian(files, fresh);
		rmSync(state, { recursive: true });
		finish(fresh);
		const version = files.map((file) => basename(file).split("_")).find(([each]) => each === libc)?.[1];
		writeFileSync(join(fresh, LIBC), version);
		add?.(fresh);
		renameSync(fresh, root);
	} finally {
		rmSync(fresh, { recursive: true, force: true });
	}
	return root;
}

/** Returns the C library of Node.js in a root file system, such as "glibc 2.31" and "musl 1.2.5". */
export function libcOf(name, root) {
	const version = readFileSync(join(root, LIBC), "utf8").split("-")[0];
	return `${ROOTS[name].libc === "musl" ? "musl" : "glibc"} ${version}`;
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
	return ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh", root, ...folders, "--"];
}
