// Starts a kernel with the disks of the tests, and reads what they print.
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { makeInitramfs } from "./disk.mjs";
import { ARCHITECTURES, KERNELS, SHARED } from "./machines.mjs";

/** What every kernel is started with. */
const WORDS = ["panic=-1", "loglevel=4", "security=apparmor"];

/** The number of the device of virtiofs (VIRTIO_ID_FS in <linux/virtio_ids.h>). */
const VIRTIOFS = 26;

/** A line of a shell that starts virtiofsd and waits for its socket. The server is not a child of the kernel, and ends with it. */
function serve(tag, options, socket) {
	const start = [
		"virtiofsd/usr/lib64/ld-linux-x86-64.so.2 --library-path virtiofsd/usr/lib/x86_64-linux-gnu",
		`virtiofsd/usr/libexec/virtiofsd --tag ${tag} --socket-path "${socket}" --shared-dir "$TMPDIR/${tag}"`,
		`--sandbox none --log-level error ${options.join(" ")}`,
	].join(" ");
	return `mkdir -m 777 "$TMPDIR/${tag}"; (${start} &); for i in $(seq 200); do [ -S "${socket}" ] && break; sleep 0.05; done; [ -S "${socket}" ] || exit 1`;
}

/**
 * User-Mode Linux. Its memory is a file on a tmpfs. It writes to none of the disks, but to a file beside the machine. In a PID
 * namespace, so that no process of the machine outlives its kernel, however it ends.
 */
function umlCommand({ options = [], largeFpu, virtiofs }, kernel, { base, project, run }, work) {
	const [memory, cow] = ["memory", "cow"].map((name) => join(work, name));
	for (const folder of [memory, cow]) mkdirSync(folder);
	const disks = [base, project].map((file, i) => `ubd${"ab"[i]}=${join(cow, String(i))},${file}`);
	const shared = virtiofs ? Object.entries(SHARED) : [];
	const socket = (tag) => join(work, `${tag}.socket`);
	const inside = [
		'mount -t tmpfs -o size=1700M,mode=700 userns-kernels "$TMPDIR" || exit',
		...shared.map(([tag, options]) => serve(tag, options, socket(tag))),
		"export LD_LIBRARY_PATH=$PWD/libc", // for the kernel alone, because other programs do not fit this library
		...(largeFpu ? ["export LD_PRELOAD=$PWD/large-fpu.so"] : []),
		'exec ./linux "$@"',
	].join("\n");
	return {
		program: "unshare",
		args: [
			...["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"],
			...["sh", "-c", inside, "sh", "mem=1500M", ...disks, "root=/dev/ubda", "rw", "init=/start"],
			...["con=null", "con0=null,fd:1", `uml_dir=${work}`, ...WORDS, `userns.run=${run}`, ...options],
			...shared.map(([tag]) => `virtio_uml.device=${socket(tag)}:${VIRTIOFS}`),
		],
		options: {
			cwd: kernel,
			env: { PATH: process.env.PATH, TMPDIR: memory },
			stdio: ["ignore", "pipe", "pipe"],
		},
	};
}

/** Two CPUs, each emulated by a thread. No network, and no device except the disks and the serial ports. */
function emulatorCommand({ arch }, kernel, { base, project, run }, work) {
	const { emulator, options, terminal } = ARCHITECTURES[arch];
	const words = [`console=${terminal}`, ...WORDS, "mitigations=off", `userns.run=${run}`].join(" ");
	const initramfs = makeInitramfs(kernel, base, work);
	return {
		program: emulator,
		args: [
			...[...options, "-accel", "tcg,thread=multi", "-smp", "2", "-m", "2G"],
			...["-nodefaults", "-display", "none", "-no-reboot"],
			...["-kernel", join(kernel, "vmlinuz"), "-initrd", initramfs, "-append", words],
			// The emulator redirects writes to the disks to a temporary file. Others may use the same disks meanwhile.
			...[base, project].flatMap((file, i) => [
				...[
					"-drive",
					`file=${file},if=none,id=disk${i},format=raw,cache=unsafe,snapshot=on,file.locking=off`,
				],
				...["-device", `virtio-blk-pci,drive=disk${i},addr=${4 + i}`],
			]),
			...["-serial", `file:${join(work, "console.log")}`],
			...["-chardev", "stdio,id=words,signal=off", "-device", "virtio-serial-pci"],
			...["-device", "virtserialport,chardev=words"],
		],
		options: { stdio: ["pipe", "pipe", "pipe"] },
	};
}

/**
 * Returns what the tests reported (reporter.mjs), or undefined if the machine ended before, and the lines of its output. The
 * machine is killed after `seconds`. `disks`: the images `base` and `project`, and the name of the script to `run`. `say` gets each
 * line when it comes.
 */
export async function runMachine(name, kernel, disks, work, seconds, say) {
	const make = KERNELS[name].uml ? umlCommand : emulatorCommand;
	writeFileSync(join(work, "console.log"), "");
	const { program, args, options } = make(KERNELS[name], kernel, disks, work);
	const child = spawn(program, args, options);
	const kill = () => child.kill("SIGKILL");
	process.on("exit", kill);
	const timer = setTimeout(kill, seconds * 1000);
	let report;
	const lines = [];
	try {
		const ended = new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
		for (const stream of [child.stdout, child.stderr]) {
			createInterface({ input: stream }).on("line", (line) => {
				const said = /^userns-kernels: (\{.*\})$/.exec(line.trimEnd())?.[1];
				if (said !== undefined) {
					report = JSON.parse(said);
					return;
				}
				lines.push(line.trimEnd());
				say(line.trimEnd());
			});
		}
		await ended;
	} finally {
		clearTimeout(timer);
		process.off("exit", kill);
	}
	lines.push(...readFileSync(join(work, "console.log"), "utf8").slice(-4000).split("\n"));
	rmSync(work, { recursive: true });
	return { report, lines };
}
