import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { NamespaceSpawnOptions, UsernsError } from "../../src/index.ts";
import { ask, runScript } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { ended } from "../support/programs.ts";
import { test } from "../support/test.ts";
import { within } from "../support/within.ts";

const needs = ["linux", "ids"] as const;
const root = ["linux", "root"] as const;

test("the hint for a missing program has whole directories of PATH, each once", { needs }, () =>
	within("deny", async (ns) => {
		const long = Array.from({ length: 40 }, (_, i) => `/directory-${i}/bin`);
		const cases: [PATH: string | undefined, shown: string][] = [
			["/a:/b:/a:", "/a, /b, .."],
			[`/nonexistent${":/nonexistent".repeat(100)}`, "/nonexistent."],
			[undefined, "/usr/bin, /bin."],
			[long.join(":"), `${long.slice(0, 5).join(", ")}, and 35 more.`],
			[`/${"x".repeat(150)}:/b`, `/${"x".repeat(150)}, and 1 more.`],
		];
		for (const [PATH, shown] of cases) {
			const env = PATH === undefined ? {} : { PATH };
			assert.throws(
				() => ns.spawn("no-such-program", [], { env }),
				({ hint }: UsernsError) => hint === `Install it in a directory of PATH: ${shown}`,
			);
		}
	}),
);

test("wrong options throw before anything starts", { needs }, () =>
	within("deny", async (ns) => {
		const inside = ns.spawn.bind(ns) as (...args: unknown[]) => unknown;
		const wrong: [unknown[], RegExp][] = [
			[[""], /the command must be a string/],
			[["a\0b"], /the command must be a string/],
			[[7], /the command must be a string/],
			[["true", "x"], /options must be an object/],
			[["true", ["a", 7]], /argument 2 must be a string/],
			[["true", ["a\0"]], /argument 1 must be a string/],
			[["true", [], { argv0: 5 }], /argv0 must be a string/],
			[["true", [], { argv0: "a\0" }], /argv0 must be a string/],
			[["true", [], { cwd: 5 }], /cwd must be a path/],
			[["true", [], { cwd: "/\0" }], /cwd must be a path/],
			[["true", [], { cwd: new URL("http://host/usr") }], /cwd must be a path or a file: URL/],
			[["true", [], { shell: 5 }], /shell must be a boolean or a path/],
			[["true", [], { env: 5 }], /env must be an object of strings/],
			[["true", [], { env: { A: "b\0" } }], /env must be .* NUL/],
			[["true", [], { uidd: 7 }], /unknown option "uidd"/],
			[["true", [], { uid: -1 }], /uid must be a whole number/],
			[["true", [], { uid: 4294967295 }], /uid must be a whole number/],
			[["true", [], { uid: 4294967296 }], /uid must be a whole number/],
			[["true", [], { gid: 1.5 }], /gid must be a whole number/],
			[["true", [], { uid: "0" }], /uid must be a whole number/],
			[["true", [], { groups: 7 }], /groups must be "keep" or an array/],
			[["true", [], { groups: [0, -1] }], /groups\[1\] must be a whole number/],
			[["true", [], { groups: [0] }], /the user namespace denies setgroups/],
			[["true", [], { cwd: 7 }], /cwd must be a path or a file: URL/],
			[["true", [], { cwd: new URL("http://localhost/") }], /cwd must be a path or a file: URL/],
			[["true", [], { cwd: "/\0" }], /cwd must be a path or a file: URL/],
			[["true", [], { unshare: "pid" }], /unshare must be an array/],
			[["true", [], { unshare: ["user"] }], /unknown kind of namespace "user"/],
			[["true", [], { unshare: ["toString"] }], /unknown kind of namespace "toString"/],
		];
		for (const [args, message] of wrong) {
			assert.throws(() => inside(...args), failure("ERR_USERNS_INVALID_ARGUMENT", message), String(message));
		}
		// A failure of this check would replace this process by exec.
		const exec = ns.exec.bind(ns) as (...args: unknown[]) => unknown;
		const wrongExec: [unknown[], RegExp][] = [
			[[""], /the command must be a string/],
			[["true", [], { stdio: "inherit" }], /unknown option "stdio"/],
			[["true", [], { argv0: 5 }], /argv0 must be a string without NUL/],
			[["true", [], { env: 7 }], /env must be an object of strings/],
			[["true", [], { env: { A: "\0" } }], /env must be an object of strings/],
			[["true", [], { groups: [0] }], /the user namespace denies setgroups/],
		];
		for (const [args, message] of wrongExec) {
			assert.throws(() => exec(...args), failure("ERR_USERNS_INVALID_ARGUMENT", message), String(message));
		}
		for (const options of [{ uid: 65536 }, { gid: 70000 }]) {
			assert.throws(() => ns.spawn("true", [], options), failure("ERR_USERNS_UNMAPPED_ID", /is not mapped/));
		}
	}),
);

test("the error names a group that is not mapped", { needs }, () =>
	within("allow", async (ns) => {
		assert.throws(
			() => ns.spawn("true", [], { groups: [1, 65536] }),
			failure("ERR_USERNS_UNMAPPED_ID", /the group 65536 is not mapped/),
		);
	}),
);

test(
	"a missing program, or one that may not be executed, is an error before anything starts",
	{ needs },
	() =>
		within("deny", async (ns) => {
			const cases: [string, NamespaceSpawnOptions, RegExp, string][] = [
				["no-such-program", {}, /there is no such program/, "ENOENT"],
				["./no/such", {}, /there is no such program/, "ENOENT"],
				["true", { env: { PATH: "/nonexistent" } }, /there is no such program/, "ENOENT"],
				["/etc/passwd", {}, /\/etc\/passwd may not be executed/, "EACCES"],
				["/usr", {}, /"\/usr" in the user namespace: it is a directory$/, "EACCES"],
				["./usr", { cwd: "/" }, /it is a directory$/, "EACCES"],
				["usr", { cwd: "/", env: { PATH: "/" } }, /there is no such program/, "ENOENT"],
			];
			for (const [command, options, message, errno] of cases) {
				assert.throws(
					() => ns.spawn(command, [], options),
					(error: { errnoCode?: string }) => {
						assert.equal(error.errnoCode, errno);
						return failure("ERR_USERNS_NO_PROGRAM", message)(error);
					},
				);
			}
			assert.throws(
				() => ns.spawn("true", [], { cwd: "/no/such/folder" }),
				failure("ERR_USERNS_SPAWN", /there is no directory \/no\/such\/folder/),
			);
			ns.close();
			assert.throws(() => ns.spawn("true"), failure("ERR_USERNS_CLOSED", /closed/));
		}),
);

test(
	"a refusal of the kernel inside is an error event with its step, and exit status 125 to 127",
	{ needs },
	() =>
		within("deny", async (ns) => {
			const folder = mkdtempSync(join(tmpdir(), "userns-spawn-"));
			try {
				// Only the host's root may enter, and that ID is not mapped inside.
				mkdirSync(join(folder, "closed"), { mode: 0o700 });
				const cases: [name: string, content: string, status: number, errno: string, hint: RegExp][] = [
					["closed/program", "#!/bin/sh\n", 126, "EACCES", /check their owners/],
					["interpreter", "#!/no/such/interpreter\n", 127, "ENOENT", /interpreter/],
					["nothing", "just words\n", 126, "ENOEXEC", /a program for this CPU architecture/],
				];
				chmodSync(folder, 0o755);
				for (const [name, content, code, errno, hint] of cases) {
					writeFileSync(join(folder, name), content, { mode: 0o755 });
					const { error, status: exit } = await ended(ns.spawn(join(folder, name)));
					assert.equal(error?.code, "ERR_USERNS_SPAWN", name);
					assert.equal(error?.errnoCode, errno);
					assert.equal(error?.step, "executing the program");
					assert.match(error?.hint ?? "", hint);
					assert.equal(exit, code);
				}
			} finally {
				rmSync(folder, { recursive: true });
			}
		}),
);

test("spawn needs /proc, and says so; exec does not need it", { needs: [...root, "private-mounts"] }, () => {
	const hide = 'mount -t tmpfs none /proc; exec "$@"';
	const prefix = ["unshare", "--mount", "--propagation", "private", "sh", "-c", hide, "sh"];
	const script = (call: string) => {
		const { stdout, stderr } = runScript(
			`const ns = userns.UserNamespace.createSync("0:100000:10");
			try { ${call} } catch (error) { console.log(error.code, error.errnoCode, error.hint); }`,
			{ prefix },
		);
		assert.equal(stderr, "");
		return stdout;
	};
	assert.match(script('ns.spawn("true");'), /^ERR_USERNS_SPAWN ENOENT Mount a procfs/);
	assert.equal(script('ns.exec("echo", ["executed"]);'), "executed\n");
});

test("a kind of namespace that the kernel was built without is an error before anything starts", {
	needs: [...root, "private-mounts"],
}, () => {
	// A directory over /proc/PID/ns of the script, with the namespaces of such a kernel.
	const hide =
		'mount -t tmpfs none /mnt && touch /mnt/user /mnt/pid && mount --bind /mnt /proc/$$/ns && exec "$@"';
	const errors = ask<Record<string, string>[]>(
		`const ns = userns.UserNamespace.createSync("0:100000:10");
		const errors = [];
		for (const attempt of [() => ns.spawn("true", [], { unshare: ["pid", "time"] }), () => ns.exec("true", [], { unshare: ["time"] })])
			try { attempt(); } catch (error) { errors.push(error); }
		console.log(JSON.stringify(errors));`,
		{ prefix: ["unshare", "--mount", "--propagation", "private", "sh", "-c", hide, "sh"] },
	);
	assert.equal(errors.length, 2);
	for (const { code, message, hint } of errors) {
		assert.equal(code, "ERR_USERNS_UNSUPPORTED_KERNEL");
		assert.match(message ?? "", /this kernel has no time namespaces: there is no \/proc\/self\/ns\/time$/);
		assert.match(hint ?? "", /time namespaces/);
	}
});

test("spawn executes nothing that was put at its path in a /proc that is no procfs", {
	needs: [...root, "mounts"],
}, () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-planted-"));
	try {
		const [ran, program] = [join(folder, "ran"), join(folder, "program")];
		writeFileSync(program, `#!/bin/sh\n: > ${ran}\n`, { mode: 0o755 });
		const plant = `mount -t tmpfs none /proc && mkdir -p /proc/self/fd && for fd in $(seq 3 200); do cp ${program} /proc/self/fd/$fd; done; exec "$@"`;
		const { stdout } = runScript(
			`const ns = userns.UserNamespace.createSync("0:100000:10");
			try { ns.spawn("true"); } catch (error) { console.log(error.code, error.errnoCode, error.hint); }`,
			{ prefix: ["unshare", "--mount", "--propagation", "private", "sh", "-c", plant, "sh"] },
		);
		assert.match(stdout, /^ERR_USERNS_SPAWN EXDEV Mount a procfs/);
		assert.equal(existsSync(ran), false);
	} finally {
		rmSync(folder, { recursive: true });
	}
});

test("an error says that vm.memfd_noexec forbids to start userns-enter", {
	needs: [...root, "mounts", "linux:6.3"],
}, () => {
	// Where a creation needs a program of the package too, it succeeds only before the sysctl is set.
	const errors = ask<Record<string, string>[]>(
		`import fs from "node:fs";
		const ns = userns.UserNamespace.createSync("0:100000:10");
		fs.writeFileSync("/proc/sys/vm/memfd_noexec", "2");
		const errors = [];
		for (const attempt of [() => ns.spawn("true"), () => ns.exec("true")])
			try { attempt(); } catch (error) { errors.push(error); }
		console.log(JSON.stringify(errors));`,
		{ prefix: ["unshare", "--pid", "--fork", "--mount-proc"] },
	);
	assert.equal(errors.length, 2);
	for (const { code, errnoCode, hint } of errors) {
		assert.deepEqual([code, errnoCode], ["ERR_USERNS_SPAWN", "EACCES"]);
		assert.match(hint ?? "", /sysctl vm\.memfd_noexec=1/);
	}
});

test("the file from which userns-enter is executed can be neither written nor extended nor cut", {
	needs: ["linux"],
}, () => {
	const answers = ask<string[]>(`
		const { createRequire } = await import("node:module");
		const fs = await import("node:fs");
		const file = new URL("../../../prebuilds/userns.linux-" + process.arch + ".node", USERNS).pathname;
		const { fd } = createRequire(USERNS)(file).openProgram(3);
		const attempts = [() => fs.writeSync(fd, "x", 0), () => fs.ftruncateSync(fd, 0), () => fs.ftruncateSync(fd, 1 << 20),
			() => fs.writeFileSync("/proc/self/fd/" + fd, "x")];
		console.log(JSON.stringify(attempts.map((attempt) => { try { attempt(); return "done"; } catch (error) { return error.code; } })));`);
	assert.deepEqual(answers, ["EPERM", "EPERM", "EPERM", "EPERM"]);
});
