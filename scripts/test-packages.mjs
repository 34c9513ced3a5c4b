// The programs that the tests run. `npm test` installs them, and .ci/run requires them.
import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Debian's packages, each with the programs that the tests run or, if they need none of its programs, with a file. */
export const PACKAGES = {
	acl: ["setfacl", "getfacl"],
	bash: ["bash"],
	bsdutils: ["script"],
	"btrfs-progs": ["mkfs.btrfs"],
	bubblewrap: ["bwrap"],
	"busybox-static": ["busybox"],
	crun: ["crun"],
	dosfstools: ["mkfs.vfat"],
	e2fsprogs: ["chattr", "mkfs.ext4"],
	"erofs-utils": ["mkfs.erofs"],
	fish: ["fish"],
	gcc: ["cc"],
	"gcc-aarch64-linux-gnu": ["aarch64-linux-gnu-gcc"],
	git: ["git"],
	"groff-base": ["groff"],
	hostname: ["hostname"],
	"libc-bin": ["getent", "ldconfig"],
	"libc6-dev": ["/usr/include/stdio.h"],
	"libc6-dev-arm64-cross": ["/usr/aarch64-linux-gnu/include/stdio.h"],
	"libcap2-bin": ["setcap", "getcap"],
	mandoc: ["mandoc"],
	mount: ["mount", "umount", "losetup"],
	runc: ["runc"],
	"squashfs-tools": ["mksquashfs"],
	squashfuse: ["squashfuse"],
	strace: ["strace"],
	tar: ["tar"],
	uidmap: ["newuidmap", "newgidmap", "getsubids"],
	"util-linux": ["unshare", "nsenter", "setpriv", "lsns", "taskset", "prlimit"],
	xfsprogs: ["mkfs.xfs"],
	zsh: ["zsh"],
};

/** The same for the programs of test/clients that only `npm run test:clients` brings, because some of them start services. */
export const CLIENTS = {
	iproute2: ["ip"],
	lxc: ["lxc-execute"],
	passt: ["pasta"],
	podman: ["podman"],
	slirp4netns: ["slirp4netns"],
	"systemd-container": ["systemd-nspawn"],
};

/** All programs of PACKAGES. */
export const TOOLS = Object.values(PACKAGES)
	.flat()
	.filter((tool) => !tool.startsWith("/"));

/** Returns PATH with the folders of mkfs(8) appended: su(1) leaves root without them, and a user's PATH lacks them. */
export function systemPath() {
	const folders = (process.env.PATH ?? "").split(":").filter((folder) => folder !== "");
	return [...new Set([...folders, "/usr/sbin", "/sbin"])].join(":");
}

/** Returns the paths of a program in the folders of systemPath(). */
export function pathsOf(tool) {
	const isThere = (path) => {
		try {
			accessSync(path, tool.startsWith("/") ? constants.R_OK : constants.X_OK);
			return true;
		} catch {
			return false;
		}
	};
	if (tool.startsWith("/")) return isThere(tool) ? [tool] : [];
	return systemPath()
		.split(":")
		.map((folder) => join(folder, tool))
		.filter(isThere);
}

function missingPackages() {
	return Object.keys(PACKAGES).filter((name) => PACKAGES[name].some((tool) => pathsOf(tool).length === 0));
}

/** Runs apt-get(8) without questions, removals and restarts of services. Without a network it fails within seconds. */
function aptGet(...args) {
	const settings = [
		...[
			"DPkg::Lock::Timeout=60",
			"Acquire::Retries=1",
			"Acquire::http::Timeout=15",
			"Acquire::https::Timeout=15",
		],
		...["Dpkg::Options::=--force-confdef", "Dpkg::Options::=--force-confold", "APT::Update::Error-Mode=any"],
	];
	const result = spawnSync("apt-get", ["-qy", ...settings.flatMap((setting) => ["-o", setting]), ...args], {
		encoding: "utf8",
		env: {
			...process.env,
			PATH: systemPath(),
			LC_ALL: "C",
			DEBIAN_FRONTEND: "noninteractive",
			NEEDRESTART_SUSPEND: "1",
		},
		maxBuffer: 1 << 26,
		stdio: ["ignore", "pipe", "pipe"],
	});
	if (result.status === 0) return undefined;
	return /^E: .*$/m.exec(result.stderr ?? "")?.[0] ?? result.error?.message ?? `status ${result.status}`;
}

/** Returns why apt-get(8) failed, or undefined. Fetches the index only if it is missing or outdated. */
function install(packages) {
	const command = ["install", "--no-install-recommends", "--no-remove", ...packages];
	if (aptGet(...command) === undefined) return undefined;
	return aptGet("update") ?? aptGet(...command);
}

/** As root, installs the missing packages if apt-get(8) is available and USERNS_TEST_INSTALL is not 0. */
export function installTestPackages() {
	const missing = missingPackages();
	const mayInstall = process.platform === "linux" && process.geteuid() === 0 && pathsOf("apt-get").length > 0;
	if (missing.length === 0 || !mayInstall || process.env.USERNS_TEST_INSTALL === "0") return;
	console.log("Installing what the tests need (USERNS_TEST_INSTALL=0 prevents it):");
	console.log(missing.join(" "));
	const reason = install(missing);
	if (reason !== undefined) console.log(`apt-get failed: ${reason}`);
}

/** Prints one line with the missing packages, if any. Their tests are skipped. */
export function printMissingPackages() {
	const missing = process.platform === "linux" ? missingPackages() : [];
	if (missing.length > 0)
		console.log(`Some tests are skipped because these packages are missing: ${missing.join(" ")}`);
}

// For .ci/run: prints the needs that the packages satisfy, in the form of USERNS_PROMISED.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
	console.log(TOOLS.map((tool) => `tool:${tool}`).join(" "));
}
