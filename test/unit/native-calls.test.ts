import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { type Call, nativeCalls, nativeFunctions } from "../support/native-source.ts";
import { test } from "../support/test.ts";

/*
 * docs/security-review.md has a table for each kind of call on which security depends. These tests compare its rows with the source:
 * a call without a row was not reviewed, and a row without a call is out of date. They also check the properties that the text of a
 * call shows, such as a flag.
 */

const review = readFileSync(join(root, "docs/security-review.md"), "utf8");

/** Returns the first cells of each row of the table below a heading. */
function reviewed(heading: string, cells: number): string[] {
	const section = review.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
	assert.ok(section !== undefined, `there is no section "${heading}"`);
	const rows = section.split("\n").filter((line) => line.startsWith("| `"));
	return rows.map((row) =>
		row
			.split("|")
			.slice(1, cells + 1)
			.map((cell) => cell.trim().replaceAll("`", ""))
			.join(" "),
	);
}

function keys(calls: readonly Call[]): string[] {
	return [...new Set(calls.map(({ file, inside, name }) => `${file} ${inside} ${name}`))].sort();
}

function holdAgainst(heading: string, calls: readonly Call[]): void {
	assert.ok(calls.length > 3, "calls are found in the source");
	assert.deepEqual(reviewed(heading, 3).sort(), keys(calls));
}

/** The flag that makes a descriptor close-on-exec, by the name of the call; "always" if the kernel always sets it. */
const FLAG: Record<string, RegExp | "always"> = {
	open: /\bO_CLOEXEC\b/,
	openat: /\bO_CLOEXEC\b/,
	openat2: /\bO_CLOEXEC\b/,
	open_by_handle_at: /\bO_CLOEXEC\b/,
	open_tree: /OPEN_TREE_CLOEXEC/,
	open_tree_attr: /OPEN_TREE_CLOEXEC/,
	fsopen: /FSOPEN_CLOEXEC/,
	fsmount: /FSMOUNT_CLOEXEC/,
	pipe2: /\bO_CLOEXEC\b/,
	socket: /SOCK_CLOEXEC/,
	socketpair: /SOCK_CLOEXEC/,
	recvmsg: /MSG_CMSG_CLOEXEC/,
	fcntl: /F_DUPFD_CLOEXEC/,
	pidfd_open: "always",
	memfd_create: /MFD_CLOEXEC/,
	clone3: "always",
	clone: "always",
	ioctl: "always",
};
/** Calls whose flags are set on a line before the call. */
const IN_THE_BODY = ["openat2", "open_tree", "open_tree_attr", "memfd_create"];
/** Sets a number that a program expects, in the child's own descriptor table. */
const ONTO = "dup3";
/** Calls without this flag, calls that this package does not need, and library functions that hide a call. */
const NEVER =
	/^(creat|pipe|dup|dup2|accept|accept4|eventfd2?|epoll_create1?|inotify_init1?|signalfd4?|timerfd_create|fspick|fopen|fdopen|opendir|popen|system|mkstemp|tmpfile|shm_open|perf_event_open|userfaultfd|bpf|pidfd_getfd|io_uring_setup)$/;

function makesDescriptor({ name, args }: Call): boolean {
	if (name === "fcntl") return args.includes("F_DUPFD");
	if (name === "clone" || name === "clone3") return true;
	if (name === "ioctl") return /PIDFD_GET_\w+_NAMESPACE|NS_GET_PARENT|NS_GET_USERNS/.test(args);
	return name in FLAG || name === ONTO;
}

test("every function of the source is found", () => {
	const files = readdirSync(join(root, "native"), { recursive: true, encoding: "utf8" }).filter((file) =>
		/\.[ch]$/.test(file),
	);
	const ends = files.flatMap(
		(file) => readFileSync(join(root, "native", file), "utf8").match(/^\}$/gm) ?? [],
	);
	// All but NAPI_MODULE_INIT, a macro.
	assert.equal(nativeFunctions().length, ends.length - 1);
});

test("every call that makes a descriptor asks for close-on-exec", () => {
	const calls = nativeCalls().filter(makesDescriptor);
	assert.ok(calls.length > 30);
	const without = calls.filter(({ name, args, body }) => {
		const flag = FLAG[name];
		return flag !== undefined && flag !== "always" && !flag.test(IN_THE_BODY.includes(name) ? body : args);
	});
	assert.deepEqual(keys(without), []);
	assert.deepEqual(keys(nativeCalls().filter(({ name }) => NEVER.test(name))), []);
});

test("every call that makes a descriptor was reviewed", () => {
	holdAgainst("Descriptors", nativeCalls().filter(makesDescriptor));
});

test("every look-up of a path was reviewed", () => {
	const paths =
		/^(open|openat|openat2|open_tree|open_tree_attr|l?stat|fstatat|statfs|execve|execveat|umount2|mount|unlink|unlinkat|readlink|readlinkat|mkdir|mkdirat|chdir|chroot|pivot_root|access|faccessat2?|rename\w*|link|symlink|mknod\w*|chown|chmod|fsconfig)$/;
	holdAgainst(
		"Paths",
		nativeCalls().filter(({ name }) => paths.test(name)),
	);
});

test("every use of the number of a process was reviewed", () => {
	const pids =
		/^(kill|tgkill|tkill|waitid|wait_for|wait4|waitpid|pidfd_open|ptrace|prlimit\w*|getpid|getppid|sched_setaffinity|process_vm_\w+|kcmp)$/;
	holdAgainst(
		"Numbers of processes",
		nativeCalls().filter(({ name }) => pids.test(name)),
	);
});

test("everything that begins a process or a thread was reviewed", () => {
	const begins =
		/^(clone3?|fork|vfork|posix_spawn\w*|pthread_create|child_start(_here|_copy)?|bounded_child_run|napi_create_async_work)$/;
	holdAgainst(
		"Processes and threads",
		nativeCalls().filter(({ name }) => begins.test(name)),
	);
});

test("src/native/addon.ts declares every method of the add-on, with as many parameters as it has arguments", {
	needs: ["linux"],
}, () => {
	const addon = join(root, `prebuilds/userns.linux-${process.arch}.node`);
	const table = Object.entries(createRequire(import.meta.url)(addon).methods() as Record<string, string>)
		.filter(([name]) => name !== "create") // the function that createMethod() returns
		.map(([name, kinds]) => `${name} ${kinds.split(" ").filter(Boolean).length}`);
	const text = readFileSync(join(root, "src/native/addon.ts"), "utf8");
	const interfaces = text
		.slice(text.indexOf("export interface NativeMounts {"))
		.replaceAll(/\/\*[\s\S]*?\*\//g, "");
	const declared = [...interfaces.matchAll(/^\t(\w+)\(([\s\S]*?)\): /gm)].map(
		([, name, parameters = ""]) =>
			`${name} ${parameters.replaceAll(/\([^()]*\)/g, "").match(/\w+\??:/g)?.length ?? 0}`,
	);
	assert.deepEqual([...new Set(declared)].sort(), table.sort());
});

test("every method of the add-on was reviewed with the kinds of its arguments, and one file reads them", {
	needs: ["linux"],
}, () => {
	const addon = join(root, `prebuilds/userns.linux-${process.arch}.node`);
	const declared = Object.entries(createRequire(import.meta.url)(addon).methods() as Record<string, string>);
	const kinds = new Set(declared.flatMap(([, list]) => list.split(" ").filter(Boolean)));
	const rows = reviewed("Values from JavaScript", 2);
	assert.deepEqual(
		rows.slice(kinds.size),
		declared.map(([name, list]) => `${name} ${list || "–"}`),
	);
	assert.deepEqual(
		rows.slice(0, kinds.size).map((row) => row.split(" ")[0]),
		[...kinds].sort(),
	);
	const raw = nativeCalls().filter(({ name }) =>
		/^napi_(get_value|coerce|get_buffer|get_typedarray)/.test(name),
	);
	assert.deepEqual([...new Set(raw.map(({ file }) => file))], ["addon/arguments.c"]);
});

test("what runs in a child that shares our memory calls no C library", () => {
	const isChilds = ({ head }: { head: string }) => /\b(NO_STACK_PROTECTOR|CALL)\b/.test(head);
	const names = new Set(
		nativeFunctions()
			.filter(isChilds)
			.map(({ name }) => name),
	);
	const childs = nativeCalls().filter(isChilds);
	assert.ok(names.size > 20);
	// Words before a parenthesis that are no calls, and those for which the compiler inserts code.
	const words = /^(if|for|while|switch|return|sizeof|CMSG_\w+|__\w+|raw_\w+|SYS_\w+|syscall)$/;
	const system = /^[a-z_0-9]+$/;
	const foreign = childs.filter(
		({ name, args }) => !words.test(name) && !names.has(name) && !(/\bSYS_/.test(args) && system.test(name)),
	);
	assert.deepEqual(keys(foreign), []);
	assert.ok(names.has("unmount_steps"));
	// close(3) at the end of a scope would be a call of the C library too.
	const closing = nativeFunctions().filter(({ body }) => /\bAUTO_CLOSE\b/.test(body));
	assert.ok(closing.length > 20);
	assert.deepEqual(closing.filter(isChilds), []);
});
