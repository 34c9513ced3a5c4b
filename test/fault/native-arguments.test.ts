import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask } from "../support/child.ts";
import { test } from "../support/test.ts";

/**
 * The methods of the add-on with wrong arguments. methods() says of which kind each argument is, so a new method is tested
 * without a change here. The kind decides which values must be refused before anything is done, with an exception of the
 * add-on's own or one that the value itself has thrown.
 */
const COMMON = `
const { createRequire } = await import("node:module");
const fs = await import("node:fs");
const addon = createRequire(USERNS)(new URL("../../../prebuilds/userns.linux-" + process.arch + ".node", USERNS).pathname);
// The function that createMethod() returns is a method too.
const later = [];
const native = { ...addon, create: addon.createMethod((token, answer) => later.push([token, answer])) };

const NO_FD = 0x7fffffff;
const NOWHERE = "/nonexistent/userns";
const good = {
	walkEnd: 0, walkLinks: 0, nsKind: 0x10000000, fd: NO_FD, fdOrNone: NO_FD, pid: 0x7fffffff, u32: 0, whole: 0, bufferSize: 512, readSize: 512, idCount: 512, bigint: 0xffffffffffffff00n, boolean: false,
	map: "0 0 1", path: NOWHERE, pathOrNull: NOWHERE, function: () => {}, newidmaps: [], token: -1, mapOrNull: null, paths: [NOWHERE], words: [NOWHERE], parts: [0, 0, -1], fds: [NO_FD],
};
const signatures = addon.methods();
delete native.methods;
const calls = Object.entries(signatures).map(([name, kinds]) => ({ name, kinds: kinds.split(" ").filter(Boolean) }));

const detached = new ArrayBuffer(8);
const view = new Uint8Array(detached);
structuredClone(detached, { transfer: [detached] });
const trap = () => { throw new Error("trap"); };
const objects = [
	undefined, Symbol("s"), {}, () => 1, new Date(0), /x/, detached, view, new Uint8Array(8), new Map(),
	new Proxy({}, { get: trap, getPrototypeOf: trap, ownKeys: trap }), { valueOf: trap, toString: trap, [Symbol.toPrimitive]: trap },
	{ get length() { return trap(); } }, Object.create(null), new Number(3), new String("/"), new Boolean(true), Object(1n),
	new SharedArrayBuffer(8), new WeakRef({}), Promise.resolve(1), { length: 1, 0: "/" },
];
const notNumbers = [...objects, null, "3", "", true, false, 3n, [], [3]];
const notWhole = [NaN, Infinity, -Infinity, 1.5, -0.5, 2 ** 53, 1e300, 5e-324, -2, -(2 ** 31), -(2 ** 53), 2 ** 32];
const texts = [...objects, 0, 3, NaN, 3n, true, [], ["/"], "a\\0b", "\\0", "x".repeat(3 << 20), "\\u20ac".repeat(3 << 20)];
const lists = (bad) => [
	...objects, null, 3, "/", true, new Proxy([], {}), new Array(5), new Array(2 ** 32 - 1), Object.defineProperty([], 0, { get: trap, enumerable: true }),
	...bad.map((each) => [each]), ...bad.map((each) => ["/", each]),
];
const bad = {
	fd: [...notNumbers, ...notWhole, -1, 2 ** 31],
	fdOrNone: [...notNumbers, ...notWhole, 2 ** 31],
	pid: [...notNumbers, ...notWhole, -1, 0, -0, 2 ** 31],
	whole: [...notNumbers, ...notWhole.filter((each) => each !== 2 ** 32), -1],
	u32: [...notNumbers, ...notWhole, -1],
	walkEnd: [...notNumbers, ...notWhole, -1, 6],
	walkLinks: [...notNumbers, ...notWhole, -1, 2],
	nsKind: [...notNumbers, ...notWhole, -1, 2 ** 31],
	bufferSize: [...notNumbers, ...notWhole, -1, 2 ** 24 + 1, 2 ** 31],
	readSize: [...notNumbers, ...notWhole, -1, 0, 2 ** 24 + 1, 2 ** 31],
	idCount: [...notNumbers, ...notWhole, -1, 0, 65537, 2 ** 31],
	bigint: [...notNumbers.filter((each) => each !== 3n), ...notWhole, 0, 1, -1n, 2n ** 64n, -(2n ** 63n), 10n ** 400n],
	boolean: [...objects, null, 0, 1, NaN, "true", "", 1n, []],
	map: [...texts, null, "0".repeat(4096)],
	path: [...texts, null, "/".repeat(4097)],
	pathOrNull: [...texts, "/".repeat(4097)],
	mapOrNull: [...texts, "0".repeat(4096)],
	function: [...objects.filter((each) => typeof each !== "function"), null, 3, "f", true, []],
	newidmaps: lists([undefined, null, 3, {}, "a\\0b", ["/"], Symbol("s"), "0".repeat(16385)]).concat([[""], ["", ""], ["", "", ""], ["", "", "", "", ""]]),
	token: [...notNumbers, ...notWhole, 2 ** 31],
	paths: lists([undefined, null, 3, {}, "a\\0b", ["/"], Symbol("s"), "/".repeat(4097)]),
	words: lists([undefined, null, 3, {}, "a\\0b", ["/"], Symbol("s"), "x".repeat(32 * 65536 + 1)]),
	parts: [...lists([undefined, null, "0", {}, 1n]), [], [0], [0, 0], [0, 0, -1, 0], [-1, 0, -1], [0, 5, -1], [0, -1, -1], [0, 0, -2], [0.5, 0, -1], [NaN, 0, -1]],
	fds: lists([undefined, null, "0", {}, 1n, -1, NaN, 1.5, 2 ** 31]),
};
const descriptors = () => fs.readdirSync("/proc/self/fd").length;
const children = () => readChildren().join(" ");
const inWords = (value) => { try { return typeof value === "string" ? JSON.stringify(value.slice(0, 20)) : Array.isArray(value) ? "[" + value.slice(0, 4).map(inWords) + "]" : String(value); } catch { return typeof value; } };
`;

const REFUSING = `${COMMON}
const wrong = [];
let count = 0;
const must = (name, args, what) => {
	count++;
	try {
		const answer = native[name](...args);
		wrong.push(name + "(" + what() + ") answered " + JSON.stringify(answer, (_, each) => typeof each === "bigint" ? String(each) : each));
	} catch (error) {
		const own = (error instanceof TypeError || error instanceof RangeError) && error.message.startsWith("userns native: ");
		if (!own && error.message !== "trap") wrong.push(name + "(" + what() + ") threw " + error);
	}
};
const before = descriptors();
fs.existsSync("/userns-marker/begin");
for (const { name, kinds } of calls) {
	const args = kinds.map((kind) => good[kind]);
	for (let length = 0; length < args.length; length++) must(name, args.slice(0, length), () => length + " arguments");
	for (let at = 0; at < args.length; at++) for (const value of bad[kinds[at]]) {
		must(name, args.with ? args.with(at, value) : args.map((each, i) => i === at ? value : each), () => at + ": " + inWords(value));
	}
}
fs.existsSync("/userns-marker/end");
const table = Object.keys(signatures).sort().join();
const surface = Object.keys(native).sort().join();
console.log(JSON.stringify({ count, wrong: wrong.slice(0, 20), leaked: descriptors() - before, children: children(), same: table === surface ? "" : surface }));
`;

interface Refused {
	count: number;
	wrong: string[];
	leaked: number;
	children: string;
	same: string;
}

test("the C part refuses whatever is no good in any argument: an exception, no crash, nothing left", {
	needs: ["linux"],
}, () => {
	const { count, ...answer } = ask<Refused>(REFUSING);
	assert.deepEqual(answer, { wrong: [], leaked: 0, children: "", same: "" });
	assert.ok(count > 2500, `only ${count} calls`);
});

/** What V8 does for itself meanwhile: memory, locks, clocks, other threads' wake-ups and waits. */
const HARMLESS = new Set(
	"sched_getparam sched_getscheduler clock_nanosleep mmap munmap mprotect madvise mremap brk futex sched_yield epoll_wait epoll_pwait epoll_ctl getrusage clock_gettime write read rt_sigprocmask exit prctl set_robust_list rseq restart_syscall gettid getpid".split(
		" ",
	),
);

test("a refused argument reaches no system call", { needs: ["linux", "tool:strace"] }, () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-strace-"));
	try {
		const file = join(folder, "trace");
		ask<Refused>(REFUSING, { prefix: ["strace", "-f", "-qq", "-o", file] });
		const lines = readFileSync(file, "utf8").split("\n");
		const [begin, end] = ["begin", "end"].map((mark) =>
			lines.findIndex((line) => line.includes(`/userns-marker/${mark}`)),
		);
		assert.ok(begin !== undefined && end !== undefined && begin > 0 && end > begin, "the marks are missing");
		const between = lines.slice(begin + 1, end).flatMap((line) => {
			const call = /^\d+ +(?:<\.\.\. )?(\w+)/.exec(line)?.[1];
			// V8 of Node 24 looks for the clock's frequency when one of its threads waits for the first time.
			const isHarmless = call === undefined || HARMLESS.has(call) || line.includes("/tsc_freq_khz");
			return isHarmless ? [] : [line];
		});
		assert.deepEqual(between, []);
	} finally {
		rmSync(folder, { recursive: true });
	}
});

/** Right in form, and of no use: each is the kernel's to refuse. */
const USELESS = `${COMMON}
const folder = fs.mkdtempSync("/tmp/userns-useless-");
const directory = fs.openSync(folder, "r");
const file = fs.openSync("/proc/self/status", "r");
const closed = fs.openSync("/dev/null", "r");
fs.closeSync(closed);
const fds = [NO_FD, closed, directory, file, 1023, 65536];
const paths = [NOWHERE, "", ".", "/proc/self/status", folder, "x".repeat(4096), "\\ud800", "%s%n", "/proc/self/fd/" + file, "a/../".repeat(800)];
const others = {
	walkEnd: [0, 1, 2, 3, 4, 5], walkLinks: [0, 1], nsKind: [0, 0x20000, 0x10000000], fd: fds, fdOrNone: [-1, ...fds], pid: [1, 2 ** 31 - 1, process.pid], whole: [0, 1, 2 ** 53 - 1], u32: [0, 1, 0x10, 0xffffffff], bufferSize: [0, -0, 1, 511, 2 ** 24], readSize: [1, 511, 2 ** 24],
	idCount: [1, 65536], bigint: [0n, 1n, 2n ** 63n, 2n ** 64n - 1n], boolean: [false], map: ["", "x", "0 0 4294967296", "0 0 0", "5 5 1\\n5 5 1", "deny", "\\n".repeat(4095)],
	path: paths, pathOrNull: [null, ...paths], mapOrNull: [null, "", "x", "0 0 1", "5 5 1\\n5 5 1"], function: [() => {}],
	newidmaps: [[], [], ["", "", "", ""], [NOWHERE, "", "0 0 1", ""], ["", folder, "", "0 ".repeat(8000)]], token: [-1, 0, 2 ** 31 - 1], paths: [[], [""], paths, Array(2000).fill("x")], words: [[], [""], ["x"]],
	parts: [[0, 0, -1], [2 ** 53 - 1, 3, 0], [1, 1, NO_FD], [0, 4, NO_FD]], fds: [[], fds, Array(5000).fill(directory)],
};
let seed = 7;
const below = (end) => { seed = (seed * 1103515245 + 12345) % 2147483648; return Math.floor(seed / 65536) % end; };
const wrong = [];
const before = descriptors();
let count = 0;
let started = 0;
// At once, before another call is made: one of the numbers that are of no use may be the one that comes.
const settled = async (number) => {
	while (later.length < number) await new Promise((resolve) => setImmediate(resolve));
	const [token, answer] = later[number - 1];
	if (token !== 0 && token !== 2 ** 31 - 1) wrong.push("the token " + token);
	const { error, fd } = typeof answer === "number" ? { error: 0, fd: answer } : answer;
	if (fd >= 0 ? native.close(fd) !== 0 : error >= 0) wrong.push("later: " + JSON.stringify(answer));
};
for (const { name, kinds } of calls) {
	for (let i = 0; i < ROUNDS; i++) {
		const args = kinds.map((kind, at) => at === kinds.length - 1 && kind === "boolean" ? below(2) === 0 : others[kind][below(others[kind].length)]);
		if (name === "walk" && args[0] === 3) args[6] = [NOWHERE, folder, "", "x".repeat(4096)][below(4)]; // where nothing can be made
		if (name === "execSelf") args[2] = [NO_FD]; // otherwise it replaces this process
		let answer;
		try { answer = await native[name](...args, "one more"); } catch (error) {
			if (!(error.message ?? "").startsWith("userns native: ")) wrong.push(name + " threw " + error);
			continue;
		}
		count++;
		if (typeof answer === "object" && answer !== null && "error" in answer) {
			if (!Number.isInteger(answer.error) || answer.error > 0 || answer.error < -4095) wrong.push(name + ": error " + answer.error);
			if (answer.error < 0 && answer.fd !== -1) wrong.push(name + ": an error and the descriptor " + answer.fd);
			if (answer.fd >= 0 && native.close(answer.fd) !== 0) wrong.push(name + ": a descriptor that is not owned");
		} else if (["copy", "create", "openPath"].includes(name) && answer >= 0) native.close(answer);
		else if (name === "create" && answer === undefined) await settled(++started);
		else if (Array.isArray(answer) && typeof answer[1] === "string" && native.close(answer[0]) !== 0) wrong.push(name + ": a descriptor that is not owned");
		else if (typeof answer === "number" && (!Number.isInteger(answer) || answer < -4095 || answer > 2 ** 32)) wrong.push(name + ": " + answer);
	}
}
if (started === 0) wrong.push("nothing was created later");
const leaked = descriptors() - before;
const negativeZero = native.close(-0); // as 0, and never the caller's standard input
for (const fd of [0, 1, 2, directory, file]) if (native.close(fd) !== -9) wrong.push("close(" + fd + ") of what is not its own");
fs.fstatSync(directory);
fs.closeSync(directory);
fs.rmdirSync(folder);
console.log(JSON.stringify({ count, wrong: wrong.slice(0, 20), leaked, children: children(), same: "" + negativeZero }));
`;

test("what is well formed and of no use is the kernel's to refuse: negative numbers, no crash, no descriptor left", {
	needs: ["linux"],
	timeout: 120_000,
}, () => {
	const rounds = process.env.USERNS_LONG === "1" ? 500 : 25;
	const { count, ...answer } = ask<Refused>(`const ROUNDS = ${rounds};${USELESS}`);
	assert.deepEqual(answer, { wrong: [], leaked: 0, children: "", same: "-9" });
	assert.ok(count > 20 * rounds, `only ${count} calls`);
});

test("a descriptor that was closed is refused, even if the procfs of the call gets its number", {
	needs: ["linux", "root", "mounts", "tool:unshare"],
}, () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-closed-"));
	try {
		const answer = ask<{ errors: number[]; proc: boolean; moved: boolean }>(
			`${COMMON}
			const target = ${JSON.stringify(folder)};
			const errors = [];
			for (const call of [(fd) => native.detach(fd, 0, -1, false, true), (fd) => native.detach(fd, 0, -1, false, false), (fd) => native.attach(fd, 0, -1, target, 0, false, false, 0, -1)]) {
				// The lowest free number, so that the next descriptor gets it.
				const closed = fs.openSync("/dev/null", "r");
				fs.closeSync(closed);
				errors.push((await call(closed)).error);
			}
			console.log(JSON.stringify({ errors, proc: fs.existsSync("/proc/self/fd"), moved: fs.existsSync(target + "/self") }));`,
			{ prefix: ["unshare", "--mount", "--propagation", "private"] },
		);
		assert.deepEqual(answer, { errors: [-9, -9, -9], proc: true, moved: false });
	} finally {
		rmSync(folder, { recursive: true });
	}
});
