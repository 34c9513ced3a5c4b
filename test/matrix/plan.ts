import { spawnSync } from "node:child_process";
import { constants } from "node:os";
import { join } from "node:path";
import { root, sh } from "../support/child.ts";
import type { Actor, Ids, Verdict } from "./oracle.ts";

/** Root, which prepares files and looks at what is on disk. */
export const ROOT: Actor = { uid: 0, gid: 0, capable: true };
/** A user and a group that no shape maps and that own no file. */
export const STRANGER: Readonly<Ids> = { uid: 4242424242, gid: 4242424242 };

/** The expected result of an operation: the verdict alone, or success with at least these findings. */
export type Expectation = Verdict | Readonly<Record<string, number | string>>;

interface Step {
	/** The operation of the matrix to which this belongs. */
	operation: string;
	actor: Actor;
	line: readonly (string | number)[];
	expected: Expectation;
}

const errnoNames = new Map(Object.entries(constants.errno).map(([name, number]) => [number as number, name]));

/**
 * File operations in their order, each with its expected result, which is fixed before the first one runs. Paths are
 * relative to the fixture's folder: `disk` is the file system itself, `seen` its ID-mapped mount.
 */
export class Plan {
	readonly #steps: Step[] = [];
	#operation = "";

	/** The operation to which the next steps belong. */
	operation(name: string): this {
		this.#operation = name;
		return this;
	}

	/** A step whose result is checked. */
	expect(actor: Actor, line: Step["line"], expected: Expectation): this {
		this.#steps.push({ operation: this.#operation, actor, line, expected });
		return this;
	}

	/** Steps of root that prepare files. */
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

	/** Runs all of it. Returns the unexpected results, by operation. */
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

/** A mode in octal, as chmod(1) takes it. */
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

/** The descriptor of a namespace in the program that runs a plan. */
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
