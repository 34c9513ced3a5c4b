import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { NamespaceExecOptions } from "../../src/index.ts";
import { packageForAll, root, runScript, sh } from "../support/child.ts";
import { withTmpfs } from "../support/mounts.ts";
import { callNumber } from "../support/supervise.ts";
import { test } from "../support/test.ts";
import { MAP } from "../support/within.ts";

/*
 * exec replaces Node.js before the kernel can refuse anything: what userns-enter prints then must be the error that spawn, which still has
 * Node.js, emits in the same situation.
 */

const needs = ["linux", "root", "mounts", "tool:cc"] as const;
/** Without the shared page, the creation needs the calls that the filters refuse. */
const created = [...needs, "shared-page"] as const;

interface Failure {
	code: string;
	message: string;
	hint: string;
	step: string;
	errno: number;
	errnoCode?: string;
}

interface Situation {
	/** The calls that a filter refuses with an errno. */
	refused?: Readonly<Record<string, number>>;
	program?: string;
	options?: NamespaceExecOptions;
	step: string;
	hint: RegExp;
	status?: number;
}

/** The programs and directories of the situations are in `folder`. */
const situations = (folder: string): Record<string, Situation> => ({
	"a filter refuses setns(2)": {
		refused: { setns: 1 },
		step: "joining the user namespace",
		hint: /^Allow setns\(2\) in the seccomp filter/,
	},
	"a filter answers setns(2) with ENOSYS": {
		refused: { setns: 38 },
		step: "joining the user namespace",
		hint: /./,
	},
	"a filter refuses unshare(2)": {
		refused: { unshare: 1 },
		options: { unshare: ["ipc"] },
		step: "creating the other namespaces",
		hint: /^Allow unshare\(2\) in the seccomp filter/,
	},
	"unshare(2) reaches a limit": {
		refused: { unshare: 28 },
		options: { unshare: ["ipc"] },
		step: "creating the other namespaces",
		hint: /^Raise the limit of that kind/,
	},
	"a filter refuses mount(2)": {
		refused: { mount: 1 },
		options: { unshare: ["mount"] },
		step: "making the mounts private",
		hint: /./,
	},
	"a filter refuses setresuid(2)": {
		refused: { setresuid: 1 },
		step: "setting the uid",
		hint: /^The step and the errno/,
	},
	"the program's interpreter is missing": {
		program: join(folder, "interpreter"),
		step: "executing the program",
		hint: /^Install the interpreter/,
		status: 127,
	},
	"the program is not for this processor": {
		program: join(folder, "nothing"),
		step: "executing the program",
		hint: /^Name a program for this CPU/,
		status: 126,
	},
	"the IDs may not reach the program": {
		program: join(folder, "closed/program"),
		step: "executing the program",
		hint: /^Let the IDs in the namespace execute/,
		status: 126,
	},
	"the IDs may not reach the program, in a pid namespace": {
		program: join(folder, "closed/program"),
		options: { unshare: ["pid"] },
		step: "executing the program",
		hint: /^Let the IDs in the namespace execute/,
		status: 126,
	},
	"the IDs may not enter the working directory": {
		options: { cwd: join(folder, "closed") },
		step: "entering the working directory",
		hint: /./,
	},
});

/** How the package is called: each prints the error as JSON. */
const WAYS = {
	spawn: `ns.spawn(program, [], { ...options, stdio: "ignore" })
		.on("error", (error) => console.log(JSON.stringify(error))).on("exit", (status) => { process.exitCode = status; });`,
	exec: `ns.exec(program, [], { ...options, failureText: (error) => ({ stdout: JSON.stringify(error) }) });`,
};

function prefixOf(deny: string, { refused }: Situation): string[] {
	if (refused === undefined) return [];
	return [deny, ...Object.entries(refused).map(([call, errno]) => `${callNumber(call)}=${errno}`)];
}

function failureOf(way: keyof typeof WAYS, deny: string, situation: Situation): [Failure, number | null] {
	const { program = "true", options = {} } = situation;
	const body = `const [program, options] = ${JSON.stringify([program, options])};
		const ns = await userns.UserNamespace.create(${JSON.stringify(MAP)});
		${WAYS[way]}`;
	// spawn starts the program in the working directory before it joins, so that EACCES there is not about the IDs inside.
	const { status, stdout, stderr } = runScript(body, { prefix: prefixOf(deny, situation) });
	assert.equal(stderr, "");
	return [JSON.parse(stdout), status];
}

function withPrograms(run: (folder: string, deny: string) => void): Promise<void> {
	return withTmpfs((folder) => {
		const deny = join(folder, "deny");
		sh("cc", "-O2", "-DKEEP_PRIVILEGES", "-o", deny, join(root, "test/support/programs/deny.c"));
		mkdirSync(join(folder, "closed"), { mode: 0o700 });
		writeFileSync(join(folder, "closed/program"), "#!/bin/sh\n", { mode: 0o755 });
		writeFileSync(join(folder, "interpreter"), "#!/no/such/interpreter\n", { mode: 0o755 });
		writeFileSync(join(folder, "nothing"), "just words\n", { mode: 0o755 });
		run(folder, deny);
	});
}

test("exec prints the error that spawn emits: code, message, errno, step and hint", { needs: created }, () =>
	withPrograms((folder, deny) => {
		for (const [name, situation] of Object.entries(situations(folder))) {
			const { step, hint, status = 125 } = situation;
			const [printed, exit] = failureOf("exec", deny, situation);
			assert.deepEqual([exit, printed.step], [status, step], name);
			assert.match(printed.hint, hint, name);
			// spawn enters the working directory as the caller, whom the directory admits.
			if (situation.options?.cwd !== undefined) continue;
			assert.deepEqual([printed, exit], failureOf("spawn", deny, situation), name);
		}
	}),
);

test(
	"userns exec prints the hint, and with --json the same fields on standard output",
	{ needs: created },
	() =>
		withPrograms((folder, deny) => {
			for (const [name, situation] of Object.entries(situations(folder))) {
				const { step, program = "true", options = {}, status = 125 } = situation;
				const kinds = options.unshare === undefined ? [] : ["--unshare", options.unshare.join(",")];
				const directory = options.cwd === undefined ? [] : ["--chdir", options.cwd];
				const command = (...more: string[]) => {
					const args = ["exec", ...more, "--map", MAP, ...kinds, ...directory, "--", program];
					const file = join(packageForAll(), "dist/src/cli/userns.js");
					return runScript(
						`const { spawnSync } = await import("node:child_process");
					const { status, stdout, stderr } = spawnSync(process.execPath, ${JSON.stringify([file, ...args])}, { encoding: "utf8" });
					console.log(JSON.stringify({ status, stdout, stderr }));`,
						{ prefix: prefixOf(deny, situation) },
					);
				};
				const [plain, json] = [[], ["--json"]].map((more) => JSON.parse(command(...more).stdout));
				assert.deepEqual([plain.status, json.status, plain.stdout], [status, status, ""], name);
				const { error } = JSON.parse(json.stdout) as { error: Failure };
				assert.equal(error.step, step, name);
				assert.equal(plain.stderr, `userns: ${error.message}\nhint: ${error.hint}\n`, name);
				assert.equal(json.stderr, plain.stderr, name);
			}
		}),
);

test("an errno for which no text was made is printed by its number", { needs }, () =>
	withPrograms((_, deny) => {
		for (const [program, errno] of [
			["true", 99],
			["2999", 98], // the number that marks the place of the errno occurs in the text
		] as const) {
			const situation: Situation = { refused: { setresuid: errno }, step: "", hint: /./ };
			const body = `const ns = await userns.UserNamespace.create(${JSON.stringify(MAP)});
				const argv0 = ${JSON.stringify(program)};
				ns.exec("true", [], { argv0, failureText: ({ message, errno }) => ({ stdout: argv0 + " " + errno, stderr: message }) });`;
			const { status, stdout, stderr } = runScript(body, { prefix: prefixOf(deny, situation) });
			assert.deepEqual([status, stdout], [125, `${program} -${errno}`]);
			assert.match(stderr, new RegExp(`: setting the uid: errno ${errno}$`));
		}
	}),
);

test(
	"the text of a caller cannot end a record: the signs that have a meaning in it are replaced",
	{ needs },
	() =>
		withPrograms((folder) => {
			const program = join(folder, "nothing");
			const body = `const ns = await userns.UserNamespace.create(${JSON.stringify(MAP)});
			ns.exec(${JSON.stringify(program)}, [], { failureText: ({ step }) => ({ stdout: "a\\x1fb\\x1ec\\x1dd\\0e", stderr: step }) });`;
			const { stdout, stderr } = runScript(body);
			assert.deepEqual([stdout, stderr], ["a?b?c?d?e", "executing the program"]);
		}),
);

test("a failureText that returns something else is an error, and nothing is replaced", { needs }, () => {
	for (const value of [
		"Promise.resolve({})",
		"undefined",
		"null",
		"1",
		'"text"',
		"{ stdout: 1 }",
		"{ stderr: null }",
	]) {
		const body = `const ns = await userns.UserNamespace.create(${JSON.stringify(MAP)});
			try { ns.exec("true", [], { failureText: () => (${value}) }); } catch ({ code, message }) { console.log(code, message); }`;
		assert.match(
			runScript(body).stdout,
			/^ERR_USERNS_INVALID_ARGUMENT .*failureText must return an object/,
			value,
		);
	}
	const long = `const ns = await userns.UserNamespace.create(${JSON.stringify(MAP)});
		for (const length of [3500, 60000, 3_000_000]) {
			try { ns.exec("true", [], { unshare: ["pid", "mount", "net"], failureText: () => ({ stderr: "y".repeat(length) }) }); }
			catch ({ code, message }) { console.log(code, message); }
		}`;
	assert.match(
		runScript(long).stdout,
		/^(ERR_USERNS_INVALID_ARGUMENT .* failures have more than 131071 bytes together\n){3}$/,
	);
	// A function that throws: its error arrives.
	const body = `const ns = await userns.UserNamespace.create(${JSON.stringify(MAP)});
		try { ns.exec("true", [], { failureText: () => { throw new RangeError("mine"); } }); } catch ({ message }) { console.log(message); }`;
	assert.equal(runScript(body).stdout, "mine\n");
});

test("a text longer than a pipe holds arrives whole", { needs }, () =>
	withPrograms((folder) => {
		const program = join(folder, "nothing");
		const body = `const ns = await userns.UserNamespace.create(${JSON.stringify(MAP)});
			ns.exec(${JSON.stringify(program)}, [], { failureText: ({ errnoCode }) => ({ stdout: errnoCode === "ENOEXEC" ? "x".repeat(100000) : "" }) });`;
		assert.equal(runScript(body).stdout.length, 100000);
	}),
);

test(
	"a seccomp filter that ends a process for chroot(2) and open_tree(2) does not prevent reading a mapping",
	{ needs },
	() =>
		withPrograms((_, deny) => {
			// 4096: the filter ends the process.
			const killed = ["open_tree", "chroot", "fchdir"].map((name) => `${callNumber(name)}=4096`).join(",");
			const body = `const ns = await userns.UserNamespace.create(${JSON.stringify(MAP)});
			console.log(userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mappingSync().id);`;
			assert.equal(runScript(body, { prefix: [deny, killed] }).stdout, `${MAP}\n`);
		}),
);
