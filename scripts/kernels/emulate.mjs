// Runs an emulated machine until it or this process ends, and prints its output.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { MACHINES } from "./machines.mjs";

/** Two CPUs, each emulated by a thread. No network, and no device except the disks and the serial ports. */
function command(architecture, { kernel, initramfs, base, project }, log) {
	const { emulator, options, terminal } = MACHINES[architecture];
	const words = `console=${terminal} panic=-1 loglevel=4 mitigations=off`;
	return [
		emulator,
		...options,
		...[
			"-accel",
			"tcg,thread=multi",
			"-smp",
			"2",
			"-m",
			"2G",
			"-nodefaults",
			"-display",
			"none",
			"-no-reboot",
		],
		...["-kernel", kernel, "-initrd", initramfs, "-append", words],
		// The emulator redirects writes to the disks to a temporary file.
		...[base, project].flatMap((file, i) => [
			...["-drive", `file=${file},if=none,id=disk${i},format=raw,cache=unsafe,snapshot=on`],
			...["-device", `virtio-blk-pci,drive=disk${i},addr=${4 + i}`],
		]),
		...["-serial", `file:${log}`],
		...["-chardev", "stdio,id=words,signal=off", "-device", "virtio-serial-pci"],
		...["-device", "virtserialport,chardev=words"],
	];
}

/**
 * Returns the exit status of the tests, or undefined if the machine did not report it, and the lines of its output. The
 * machine is killed after `seconds`.
 */
export async function emulate(architecture, disk, work, seconds) {
	const log = join(work, "console.log");
	const [emulator, ...args] = command(architecture, disk, log);
	const child = spawn(emulator, args, { stdio: ["pipe", "pipe", "inherit"] });
	const kill = () => child.kill("SIGKILL");
	process.on("exit", kill);
	const timer = setTimeout(kill, seconds * 1000);
	let status;
	const lines = [];
	try {
		const ended = new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
		createInterface({ input: child.stdout }).on("line", (line) => {
			const said = /^userns-kernels: status (\d+)/.exec(line)?.[1];
			if (said !== undefined) status = Number(said);
			else console.log(`  ${line}`);
			lines.push(line);
		});
		await ended;
	} finally {
		clearTimeout(timer);
		process.off("exit", kill);
	}
	if (status === undefined)
		console.error(`The console's last words:\n${readFileSync(log, "utf8").slice(-4000)}`);
	return { status, lines };
}
