import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { root, sh } from "./child.ts";

/** The actions at a call (enum action in supervise.h). */
export const ACTION = { errno: 1, kill: 2, hold: 3, short: 4, partial: 5, sticky: 6 } as const;

/** The processes whose calls count (enum scope in supervise.h). */
export const SCOPE = { own: 0, children: 1, programs: 2 } as const;

let program: string | undefined;

/** The program between a script and the kernel (supervise.c), as a prefix of the script's command. Needs root. */
export function supervise(): string {
	if (program !== undefined) return program;
	const folder = mkdtempSync(join(tmpdir(), "userns-supervise-"));
	chmodSync(folder, 0o755);
	process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
	const sources = ["supervise", "supervise-filter", "supervise-plan"].map((name) =>
		join(root, `test/support/programs/${name}.c`),
	);
	const file = join(folder, "supervise");
	sh("cc", "-O2", "-o", file, ...sources);
	program = file;
	return file;
}

/** For scripts: `arm` sets the action and the call from now on, and `disarm` returns what happened. */
export const WORDS = `const say = (word) => { try { process.kill(-(0x40000000 + word), 0); return 0; } catch (e) { return -e.errno; } };
	const arm = (action, scope, index, argument) => say(action * 2 ** 26 + scope * 2 ** 24 + index * 2 ** 12 + argument);
	const disarm = () => { const said = say(0); return said >= 2000 ? { count: said - 2000 } : { hit: said - 1 }; };
	const isHeld = () => say(1) === 1;
	const letGo = () => say(2);\n`;

/** Calls that are newer than the headers of many machines. */
const YOUNG: Record<number, string> = { 457: "statmount", 458: "listmount", 467: "open_tree_attr" };
let names: Map<number, string> | undefined;

/** The name of a system call by its number on this machine, from the kernel's headers. */
export function callName(number: number): string {
	return callNames().get(number) ?? `call ${number}`;
}

/** The number of a system call on this machine. */
export function callNumber(name: string): number {
	const [number] = [...callNames()].find(([, each]) => each === name) ?? [];
	if (number === undefined) throw new Error(`the headers have no call ${name}`);
	return number;
}

function callNames(): Map<number, string> {
	if (names !== undefined) return names;
	names = new Map(Object.entries(YOUNG).map(([key, name]) => [Number(key), name]));
	const text = sh("sh", "-c", "echo '#include <sys/syscall.h>' | cc -E -dM -");
	for (const [, name = "", value] of text.matchAll(/^#define __NR_(\w+) (\d+)$/gm)) {
		names.set(Number(value), name);
	}
	return names;
}

/** The errnos that the kernel may return, by their names. */
export const ERRNOS: Readonly<Record<string, number>> = Object.fromEntries(
	["ENOSYS", "EPERM", "EACCES", "EINTR", "EAGAIN", "ENOMEM", "EMFILE", "ENFILE", "ENOSPC", "EIO"].map(
		(name) => [name, constants.errno[name as "EPERM"]],
	),
);
