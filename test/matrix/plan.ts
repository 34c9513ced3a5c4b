import { spawnSync } from "node:child_process";
import { constants } from "node:os";
import { join } from "node:path";
import { root, sh } from "../support/child.ts";
import type { Actor, Ids, Verdict } from "./oracle.ts";

/** Root without more, which prepares things and looks at what is on disk. */
export const ROOT: Actor = { uid: 0, gid: 0, capable: true };
/** A user and a group that no shape maps and no file has. */
export const STRANGER: Readonly<Ids> = { uid: 4242424242, gid: 4242424242 };

/** What an operation must answer: the verdict alone, or success with these findings among others. */
export type Expectation = Verdict | Readonly<Record<string, number | string>>;

interface Step {
	/** Of which operation of the matrix this is a part. */
	operation: string;
	actor: Actor;
	line: readonly (string | number)[];
	expected: Expectation;
}

const errnoNames = new Map(Object.entries(constants.errno).map(([name, number]) => [number as number, name]));

/**
 * File operations in the order in which they are to be done, each with what it must answer: all of that is written
 * down before the first is done. Paths count from the fixture's folder: `disk` is the file system as it is, `seen` the
 * ID-mapped mount of it.
 */
export class Plan {
	readonly #steps: Step[] = [];
	#operation = "";

	/** What the steps that follow belong to. */
	operation(name: string): this {
		this.#operation = name;
		return this;
	}

	/** A step that is looked at. */
	expect(actor: Actor, line: Step["line"], expected: Expectation): this {
		this.#steps.push({ operation: this.#operation, actor, line, expected });
		return this;
	}

	/** Steps that prepare something, as root. */
	prepare(...lines: Step["line"][]): this {
		for (const line of lines) this.expect(ROOT, line, "OK");
		return this;
	}

	get operations(): Set<string> {
		return new Set(this.#steps.map(({ operation }) => operation));
	}

	get length(): number {
		return this.#steps.length;
	}

	/** Does all of it. Answers what came out otherwise than expected, by operation. */
	run(programs: Programs, folder: string, namespace?: number): Difference[] {
		const input = this.#steps.map(({ actor, line }) => {
			const { uid, gid, groups = [], capable } = actor;
			return `${[uid, gid, groups.join(",") || "-", capable ? "all" : "none", ...line].join("\t")}\n`;
		});
		const { status, signal, stdout, stderr } = spawnSync(programs.operate, [], {
			cwd: folder,
			input: input.join(""),
			encoding: "utf8",
			stdio: ["pipe", "pipe", "pipe", ...(namespace === undefined ? [] : [namespace])],
			maxBuffer: 1 << 28,
			timeout: 300_000,
		});
		const answers = stdout.trimEnd().split("\n");
		if (status !== 0 || answers.length !== this.#steps.length) {
			const last = this.#steps[answers.length - 1]?.line.join(" ");
			throw new Error(`mounted-op ended with ${status ?? signal} near "${last}": ${stderr}`);
		}
		return this.#steps.flatMap((step, i) => compare(step, JSON.parse(answers[i] as string)));
	}
}

export interface Difference {
	operation: string;
	text: string;
}

/** Modes as people write them. */
const WITH_MODE = ["create", "mkdir", "mkfifo", "chmod", "tmpfile"];
const octal = (mode: unknown) => `0${Number(mode).toString(8)}`;

function describe({ actor, line }: Step): string {
	const [operation, path, ...rest] = line;
	if (WITH_MODE.includes(String(operation))) rest[0] = octal(rest[0]);
	const groups = actor.groups === undefined ? "" : ` in ${actor.groups}`;
	const capable = actor.capable ? " with capabilities" : "";
	return `${[operation, path, ...rest].join(" ")}, as ${actor.uid}:${actor.gid}${groups}${capable}`;
}

const findings = (found: object): string =>
	JSON.stringify(found, (key, value) => (key === "mode" ? octal(value) : value));

function compare(step: Step, answer: Record<string, unknown>): Difference[] {
	const { operation, expected } = step;
	const { errno, ...found } = answer;
	const verdict = errno === 0 ? "OK" : (errnoNames.get(errno as number) ?? `errno ${errno}`);
	const [wanted, must] = typeof expected === "string" ? [{}, expected] : [expected, "OK"];
	const same = verdict === must && Object.entries(wanted).every(([key, value]) => found[key] === value);
	if (same) return [];
	const expectation = typeof expected === "string" ? expected : findings(expected);
	const got = verdict === "OK" && typeof expected !== "string" ? findings(found) : verdict;
	return [{ operation, text: `${operation}: ${describe(step)}: expected ${expectation}, got ${got}` }];
}

/** The descriptor of a namespace in the program that does a plan. */
export const NAMESPACE_FD = 3;

export interface Programs {
	operate: string;
	showIds: string;
}

/** Compiles the two programs into a folder. */
export function compilePrograms(folder: string): Programs {
	const [operate, showIds] = [join(folder, "mounted-op"), join(folder, "show-ids")];
	sh("cc", "-O2", "-o", operate, join(root, "test/support/programs/mounted-op.c"));
	const bare = [
		"-D_GNU_SOURCE",
		"-ffreestanding",
		"-fno-stack-protector",
		"-fno-builtin",
		"-fno-pie",
		"-static",
	];
	const link = ["-nostdlib", "-s", "-Wl,-z,noexecstack,-z,noseparate-code,--build-id=none"];
	sh(
		"cc",
		"-O2",
		...bare,
		...link,
		`-I${join(root, "native")}`,
		"-o",
		showIds,
		join(root, "test/support/programs/show-ids.c"),
	);
	return { operate, showIds };
}
