// The rows of the benchmark: each has subjects, which are programs that print one line of JSON, and the ratios between
// them. No goal is a time, because machines differ.

import { spawnSync } from "node:child_process";
import { freemem } from "node:os";
import { fileURLToPath } from "node:url";

const trial = fileURLToPath(new URL("trial.mjs", import.meta.url));
const command = fileURLToPath(new URL("../dist/src/cli/userns.js", import.meta.url));

const UNSHARE = ["unshare", "--user", "--map-root-user", "true"];
const BWRAP = ["bwrap", "--unshare-user", "--uid", "0", "--gid", "0", "--bind", "/", "/", "true"];

function ours(...words) {
	return { argv: [process.execPath, trial, ...words.map(String)] };
}

/** How many descriptors a process may open, and the program that raises the limit. */
function descriptors(wanted) {
	const raise = ["prlimit", `--nofile=${wanted + 1000}:${wanted + 1000}`];
	if (spawnSync(raise[0], [...raise.slice(1), "true"]).status === 0)
		return { prefix: raise, count: wanted, processes: 1 };
	const most = Number(spawnSync("sh", ["-c", "ulimit -Hn"], { encoding: "utf8" }).stdout) - 1000;
	const processes = Math.ceil(wanted / most);
	return { prefix: [], count: Math.ceil(wanted / processes / 5) * 5, processes };
}

/**
 * `most` and `least` are the goals. A subject with `reason` is left out. `rounds` of a row or a subject replaces the common
 * number of rounds: many short ones where the machine's speed changes from second to second.
 */
export function rowsFor({ quick, peers, stage }) {
	const n = (full, short) => (quick ? short : full);
	const peer = (name, ...words) => {
		const { program, reason } = peers[name];
		return reason ? { reason } : { argv: [program, ...words.map(String)] };
	};
	/** A trial of ours that needs the program `name`. */
	const needing = (name, ...words) => (peers[name].reason ? { reason: peers[name].reason } : ours(...words));
	const many = n(11, 1);
	const rows = [
		{
			id: "first",
			rounds: many,
			what: "first getSync of a mapping",
			why: {
				"userns / floor":
					"JavaScript takes 6 to 15 µs, because each creation empties the caches of the CPU, and the checks of /proc, the trace guard and the CPU binding 5 to 10; on another CPU that is awake, the floor's child starts and ends at the same time",
			},
			subjects: {
				userns: ours("first", n(3000, 100), 0),
				floor: peer("creation", "plain", n(3000, 100), 0),
				"floor, bound": peer("creation", "bound", n(3000, 100), 0),
				fork: peer("creation", "fork", n(300, 50), 0),
				"runc's way": peer("runc-way", "create", n(200, 30), 0),
				"unshare from Node": needing("unshare", "program", n(60, 5), ...UNSHARE),
			},
			ratios: [
				{ of: "userns", to: "floor", most: 1.1, aim: 0.7 },
				{ of: "userns", to: "floor", value: "mean" },
				{ of: "userns", to: "floor, bound" },
				{ of: "fork", to: "userns" },
				{ of: "runc's way", to: "userns", least: 4 },
				{ of: "unshare from Node", to: "userns", least: 12 },
			],
		},
		...[1024, 4096].map((mebibytes) => memoryRow(mebibytes, { many, quick, ours, peer })),
		{
			id: "firstAsync",
			rounds: many,
			what: "first get of a mapping (async)",
			why: {
				"userns / floor, on another thread":
					"JavaScript takes 10 to 15 µs before and after the creation, because each creation empties the caches of the CPU; the event loop is woken through an eventfd and a queue, the floor through an eventfd alone",
			},
			subjects: {
				userns: ours("firstAsync", n(3000, 100)),
				floor: peer("creation", "plain", n(3000, 100), 0),
				"floor, on another thread": peer("creation", "handed", n(3000, 100), 0),
				"empty work on libuv's pool": ours("emptyWork", n(3000, 100)),
			},
			ratios: [
				{ of: "userns", to: "floor" },
				{ of: "floor, on another thread", to: "floor" },
				{ of: "userns", to: "floor, on another thread", most: 1.15 },
				{ of: "userns", to: "empty work on libuv's pool", value: "loopHeld", most: 2.5 },
			],
		},
		...[1, 100, 340].map((count) => ({
			id: `cached${count}`,
			rounds: many,
			what: `cached getSync and close, ${count} ${count === 1 ? "extent" : "extents"}`,
			subjects: {
				userns: ours("cached", n(500, 50), count),
				"F_DUPFD_CLOEXEC in C": peer("descriptor", "cached", n(500, 50)),
				"userns, 1 extent": count === 1 ? undefined : ours("cached", n(500, 50), 1),
				"runc's way": peer("runc-way", "cached", count === 1 ? n(100, 20) : n(20, 3), count),
			},
			ratios: [
				{ of: "userns", to: "F_DUPFD_CLOEXEC in C", most: 2.2 },
				{ of: "userns", to: "userns, 1 extent", most: 1.1 },
				{ of: "runc's way", to: "userns", least: 1 },
			],
		})),
		{
			id: "many",
			rounds: many,
			what: "1,000 distinct mappings at once",
			why: {
				"userns / floor on 4 threads":
					"the event loop needs 20 to 30 µs for each, on the CPUs of the threads: with one CPU more it would run beside them",
			},
			subjects: {
				userns: ours("many", n(1000, 200)),
				"floor on 4 threads": peer("creation", "many", n(1000, 200), 4),
			},
			ratios: [{ of: "userns", to: "floor on 4 threads", value: "perSecond", least: 0.9 }],
		},
		heldRow(n(50000, 1000), ours),
		...[1, 340].map((count) => cachedBytesRow(n(900, 200), count, ours)),
		{
			id: "known",
			rounds: many,
			what: "opening by pid, with the mapping",
			why: {
				"userns / the reads in C":
					"/proc and the process are checked, and the namespace is checked again after the maps are read; C does neither",
			},
			subjects: {
				userns: ours("known", n(3000, 100), stage.pid),
				"the reads in C": peer("descriptor", "reads", stage.pid, n(1000, 100)),
			},
			ratios: [{ of: "userns", to: "the reads in C", most: 2 }],
		},
		{
			id: "joined",
			rounds: many,
			what: "mapping of a bare descriptor, through userns-join",
			why: {
				"userns / the same in C":
					"the path and /proc are checked before they are used, fs.suid_dumpable is read before the process joins, and a pidfd refers to the process; C does none of it",
			},
			subjects: {
				// V8 needs that many calls to compile the code: with 200, half of the time was that of the interpreter.
				userns: ours("joined", n(1000, 20), stage.pid),
				"the same in C": peer("descriptor", "joined", stage.pid, stage.joinProgram, n(1000, 20)),
			},
			ratios: [{ of: "userns", to: "the same in C", most: 1.3 }],
		},
		...mountRows({ many, n, peers, peer, stage, quick }),
		mountsRow({ n, peers, peer, stage }),
		spawnRow({ many, n, ours, needing }),
		{
			id: "parse",
			rounds: many,
			what: "Mapping.parse and id, 340 extents",
			subjects: {
				userns: ours("parse", n(2000, 200)),
				"split and Number, no check": ours("parsePlain", n(2000, 200)),
			},
			ratios: [{ of: "userns", to: "split and Number, no check", most: 1 }],
		},
		{
			id: "compose",
			rounds: many,
			what: "compose of two mappings, 340 extents each",
			why: {
				"userns / a plain merge, no check": "the result is a mapping, and is checked like every mapping",
			},
			subjects: {
				userns: ours("compose", n(2000, 200)),
				"a plain merge, no check": ours("composePlain", n(2000, 200)),
			},
			ratios: [{ of: "userns", to: "a plain merge, no check", most: 8 }],
		},
		execRow({ many, n, needing }),
		{
			id: "command",
			what: "userns show PID, from the shell",
			subjects: {
				userns: ours("program", n(15, 3), process.execPath, command, "show", stage.pid),
				"node -e 0": ours("program", n(15, 3), process.execPath, "-e", "0"),
			},
			ratios: [
				{ of: "userns", to: "node -e 0", most: 1.4 },
				{ of: "userns", to: "node -e 0", value: "cpu" },
			],
		},
	];
	for (const row of rows) {
		for (const name of Object.keys(row.subjects))
			if (row.subjects[name] === undefined) delete row.subjects[name];
	}
	return rows;
}

function memoryRow(mebibytes, { many, quick, ours, peer }) {
	const row = {
		id: `resident${mebibytes}`,
		rounds: many,
		what: `first getSync, ${mebibytes / 1024} GiB resident`,
		ratios: [
			{ of: "userns", to: "userns, empty", most: 1.1 },
			{ of: "fork", to: "fork, empty" },
		],
	};
	let reason;
	if (quick) reason = "takes too long for the quick form";
	else if (freemem() < mebibytes * 1.5 * 2 ** 20) reason = `needs ${mebibytes * 1.5} MiB of free memory`;
	if (reason) return { ...row, subjects: { userns: { reason } } };
	return {
		...row,
		subjects: {
			// V8 needs that many calls to compile the code, because the memory causes collections that delay it.
			"userns, empty": ours("first", 3000, 0),
			userns: ours("first", 3000, mebibytes),
			"fork, empty": { ...peer("creation", "fork", 100, 0), rounds: 5 },
			fork: { ...peer("creation", "fork", 10, mebibytes), rounds: 1 },
		},
	};
}

function heldRow(wanted, ours) {
	const { prefix, count, processes } = descriptors(wanted);
	const { argv } = ours("held", count, processes);
	return {
		id: "held",
		what: `${(count * processes).toLocaleString("en")} namespaces held`,
		note:
			processes > 1
				? `by ${processes} processes, because RLIMIT_NOFILE does not allow one process that many here`
				: undefined,
		subjects: { userns: { argv: [...prefix, argv[0], "--expose-gc", ...argv.slice(1)], rounds: 3 } },
		values: [
			{ of: "userns", value: "lastToFirst", unit: "last fifth / first fifth", most: 1.25 },
			{ of: "userns", value: "bytes", unit: "bytes of JavaScript each", most: 400 },
		],
	};
}

/** Every mapping is different, and no other code refers to it: the cache holds the only copy of its extents. */
function cachedBytesRow(count, extents, ours) {
	const { argv } = ours("cachedBytes", count, extents);
	const goal = extents === 1 ? {} : { most: 12_000 };
	return {
		id: `cachedBytes${extents}`,
		what: `handles in a cache, ${extents} + ${extents} extents each`,
		why: { "bytes of JavaScript each": "each extent is an object, with three numbers" },
		subjects: { userns: { argv: [argv[0], "--expose-gc", ...argv.slice(1)], rounds: 3 } },
		values: [{ of: "userns", value: "bytes", unit: "bytes of JavaScript each", ...goal }],
	};
}

/** In a mount namespace in which all those mounts are ID-mapped, and in one with a single ID-mapped mount, that of run.mjs. */
function mountsRow({ n, peers, peer, stage }) {
	const count = n(10_000, 200);
	const within = (pid, trialName) => {
		const { argv } = ours(trialName, n(5, 2), count);
		return peer("mounts", "within", stage.source, stage.targets, pid, count, ...argv);
	};
	return {
		id: "mounts",
		what: `mounts() of ${count.toLocaleString("en")} mounts`,
		note: "findmnt prints no mapping, and Node parses its JSON",
		subjects: {
			userns: within(stage.pid, "mounts"),
			"userns, one ID-mapped": within(0, "mounts"),
			"findmnt -J from Node": peers.findmnt.reason
				? { reason: peers.findmnt.reason }
				: within(stage.pid, "findmnt"),
		},
		ratios: [
			{ of: "userns", to: "findmnt -J from Node" },
			{ of: "userns, one ID-mapped", to: "findmnt -J from Node" },
		],
	};
}

function spawnRow({ many, n, ours, needing }) {
	const rounds = n(200, 5);
	return {
		id: "spawn",
		rounds: many,
		what: 'namespace.spawn("true") to its exit',
		note: "bwrap also makes a mount namespace, because it has no mode without one",
		why: {
			"userns / child_process, CPU":
				"one more program is executed, which joins the user namespace, and the socket on which it reports an error is one more stream",
		},
		subjects: {
			userns: ours("spawned", rounds, "userns"),
			child_process: ours("spawned", rounds, "child_process"),
			nsenter: needing("nsenter", "spawned", rounds, "nsenter"),
			"bwrap --userns": needing("bwrap", "spawned", rounds, "bwrap"),
		},
		ratios: [
			{ of: "userns", to: "child_process", value: "cpu", most: 1.2 },
			{ of: "userns", to: "nsenter", value: "cpu", most: 1 },
			{ of: "userns", to: "bwrap --userns", most: 1 },
			{ of: "userns", to: "child_process" },
			{ of: "userns", to: "nsenter" },
			{ of: "userns", to: "bwrap --userns", value: "cpu" },
		],
	};
}

function execRow({ many, n, needing }) {
	const rounds = n(7, 2);
	const program = (...words) => ours("program", rounds, ...words);
	return {
		id: "exec",
		rounds: many,
		what: "userns exec --map … -- true",
		why: {
			"userns / node -e 0":
				"V8 compiles the command, the library and commander at each start; a code cache is not used (docs/adr/051-bundle-of-exec.md)",
		},
		subjects: {
			userns: program(process.execPath, command, "exec", "--map", "0:100000:65536", "--", "true"),
			"node -e 0": program(process.execPath, "-e", "0"),
			"unshare --user": needing("unshare", "program", rounds, ...UNSHARE),
			"bwrap --unshare-user": needing("bwrap", "program", rounds, ...BWRAP),
		},
		ratios: [
			{ of: "userns", to: "node -e 0", most: 1.2 },
			{ of: "userns", to: "node -e 0", value: "cpu" },
			{ of: "userns", to: "unshare --user" },
			{ of: "userns", to: "bwrap --unshare-user" },
		],
	};
}

function mountRows({ many, n, peers, peer, stage, quick }) {
	const { source, target, pid, idmapped, bindfs, chowned } = stage;
	const files = stage.files;
	const through = (folder) => peer("mounts", "read", folder, files, n(30, 5));
	return [
		{
			id: "mount",
			rounds: many,
			what: "mountIdmapped and unmount",
			why: {
				"userns / the system calls in C":
					"umount2 waits for an RCU thread, which the loop in C finds awake because it does nothing else",
				"userns / the same, 10 µs apart":
					"each of the two calls wakes a thread and the event loop, and starts a bounded child, because a user may hold the lock of the directory (docs/adr/044-bounded-children.md)",
			},
			subjects: {
				userns: ours("mount", n(2000, 50), source, target),
				"the system calls in C": peer("mounts", "idmapped", source, target, pid, n(2000, 50), 0),
				"the same, 10 µs apart": peer("mounts", "idmapped", source, target, pid, n(2000, 50), 10),
				"the same, each in a child": peer("mounts", "children", source, target, pid, n(2000, 50), 10),
				"mount --bind and umount": ours("bind", n(20, 3), source, target),
				[`chown -R of ${stage.chownedFiles.toLocaleString("en")} files`]: {
					...ours("program", 1, "chown", "-R", "100000:100000", chowned),
					rounds: 1,
					...(quick && { reason: "takes too long for the quick form" }),
				},
			},
			ratios: [
				{ of: "userns", to: "the system calls in C" },
				{ of: "userns", to: "the same, 10 µs apart", most: 2 },
				{ of: "the same, each in a child", to: "the same, 10 µs apart" },
				{ of: "userns", to: "the same, each in a child" },
				{ of: "mount --bind and umount", to: "userns" },
				{ of: `chown -R of ${stage.chownedFiles.toLocaleString("en")} files`, to: "userns" },
			],
		},
		{
			id: "mountLoop",
			rounds: many,
			what: "mountIdmapped or unmount on the event loop",
			why: {
				"userns / empty work on libuv's pool, event loop":
					"the call checks its options and looks up its namespace before the thread starts, and returns an additional object",
			},
			subjects: {
				userns: ours("mountLoop", n(2000, 50), source, target),
				"empty work on libuv's pool": ours("emptyWork", n(2000, 50)),
			},
			ratios: [{ of: "userns", to: "empty work on libuv's pool", value: "loopHeld", most: 2.5 }],
		},
		{
			id: "mountMany",
			rounds: many,
			what: "1,000 mounts and their unmounts at once",
			why: {
				"userns / C on 4 threads":
					"each attach and each unmount starts a bounded child, which the threads in C do not; each child copies the descriptor table, and its 2,000 descriptors here take some 90 µs; the event loop runs on the CPUs of the threads",
			},
			subjects: {
				userns: ours("mountMany", n(1000, 50), source, stage.targets),
				"C on 4 threads": peer("mounts", "many", source, stage.targets, pid, n(1000, 50), 4),
			},
			ratios: [{ of: "userns", to: "C on 4 threads", value: "perSecond", least: 0.8 }],
		},
		{
			id: "reading",
			rounds: many,
			what: `reading ${files.toLocaleString("en")} files`,
			why: {
				"ID-mapped / plain":
					"no code of this package runs when a file is read: the difference is the noise of the machine",
				"bindfs / plain": "no code of this package runs there",
			},
			subjects: {
				plain: through(source),
				"ID-mapped": through(idmapped),
				bindfs: peers.bindfs.reason ? { reason: peers.bindfs.reason } : { ...through(bindfs), rounds: 5 },
			},
			ratios: [
				{ of: "ID-mapped", to: "plain", most: 1.03 },
				{ of: "bindfs", to: "plain", least: 10 },
			],
		},
	];
}
