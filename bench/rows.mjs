// What is measured: each row has subjects, each a program that prints one line of JSON, and the ratios that count.

import { spawnSync } from "node:child_process";
import { freemem } from "node:os";
import { fileURLToPath } from "node:url";

const trial = fileURLToPath(new URL("trial.mjs", import.meta.url));
const command = fileURLToPath(new URL("../dist/src/cli/userns.cjs", import.meta.url));
const joiner = fileURLToPath(new URL(`../build/linux-${process.arch}/userns-join`, import.meta.url));

function ours(...words) {
	return { argv: [process.execPath, trial, ...words.map(String)] };
}

/** As many descriptors as may be open, with what makes the limit as high as it can be. */
function descriptors(wanted) {
	const raise = ["prlimit", `--nofile=${wanted + 1000}:${wanted + 1000}`];
	if (spawnSync(raise[0], [...raise.slice(1), "true"]).status === 0)
		return { prefix: raise, count: wanted, processes: 1 };
	const most = Number(spawnSync("sh", ["-c", "ulimit -Hn"], { encoding: "utf8" }).stdout) - 1000;
	const processes = Math.ceil(wanted / most);
	return { prefix: [], count: Math.ceil(wanted / processes / 5) * 5, processes };
}

/**
 * `most` and `least` are the goals. A subject with `reason` is left out; a row or a subject with `rounds` is measured in
 * so many, instead of as many as the others: many and short where the machine's speed changes from second to second.
 */
export function rowsFor({ quick, peers, stage }) {
	const n = (full, short) => (quick ? short : full);
	const peer = (name, ...words) => {
		const { program, reason } = peers[name];
		return reason ? { reason } : { argv: [program, ...words.map(String)] };
	};
	const spawned = (name, rounds, ...words) =>
		peers[name].reason ? { reason: peers[name].reason } : ours("program", rounds, ...words);
	const many = n(11, 1);
	const rows = [
		{
			id: "first",
			rounds: many,
			what: "first getSync of a mapping",
			why: {
				"userns / floor":
					"JavaScript, cold behind each creation, takes 6 to 15 µs, and the checks around /proc, the shelter and the processor 5 to 10; where the other processor is awake, the floor's child starts and dies there meanwhile",
			},
			subjects: {
				userns: ours("first", n(3000, 100), 0),
				floor: peer("creation", "plain", n(3000, 100), 0),
				"floor, bound": peer("creation", "bound", n(3000, 100), 0),
				fork: peer("creation", "fork", n(300, 50), 0),
				"runc's way": peer("runc-way", "create", n(200, 30), 0),
				"unshare from Node": spawned("unshare", n(60, 5), "unshare", "--user", "--map-root-user", "true"),
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
				"userns / floor":
					"a thread and then the event loop have to be woken, each on a processor that sleeps, as the floor has to be on another thread; the rest is JavaScript, cold behind that",
				µs: "includes what the loop itself does in a turn",
			},
			subjects: {
				userns: ours("firstAsync", n(3000, 100)),
				floor: peer("creation", "plain", n(3000, 100), 0),
				"floor, on another thread": peer("creation", "handed", n(3000, 100), 0),
				"an empty work in the thread pool": ours("emptyWork", n(3000, 100)),
			},
			ratios: [
				{ of: "userns", to: "floor", most: 1.4 },
				{ of: "floor, on another thread", to: "floor" },
				{ of: "userns", to: "floor, on another thread" },
			],
			values: [{ of: "userns", value: "loopHeld", unit: "µs", most: 30 }],
		},
		...[1, 100, 340].map((count) => ({
			id: `cached${count}`,
			rounds: many,
			what: `cached getSync and close, ${count} extents`,
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
					"the event loop's share is 20 to 30 µs for each, on the same processors: with as many processors as threads it would run beside them",
			},
			subjects: {
				userns: ours("many", n(1000, 200)),
				"floor on 4 threads": peer("creation", "many", n(1000, 200), 4),
			},
			ratios: [{ of: "userns", to: "floor on 4 threads", value: "perSecond", least: 0.9 }],
		},
		heldRow(n(50000, 1000), ours),
		{
			id: "known",
			rounds: many,
			what: "opening by pid, with the mapping",
			why: {
				"userns / the reads in C":
					"/proc and the process are checked, and the namespace is looked at again behind the maps; C does neither",
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
			what: "mapping of a bare descriptor, by the joining program",
			why: {
				"userns / the same in C":
					"the path and /proc are looked at before they are used, a setting is read before anything joins, and the process is held by a pidfd; C does none of it",
			},
			subjects: {
				// As many as V8 needs to compile what runs: with 200, half of the time was that of code that was not compiled.
				userns: ours("joined", n(1000, 20), stage.pid),
				"the same in C": peer("descriptor", "joined", stage.pid, joiner, n(1000, 20)),
			},
			ratios: [{ of: "userns", to: "the same in C", most: 1.3 }],
		},
		...mountRows({ many, n, peers, peer, stage, quick }),
		{
			id: "parse",
			rounds: many,
			what: "Mapping.parse and id, 340 extents",
			subjects: { userns: ours("parse", n(2000, 200)) },
			values: [{ of: "userns", value: "p50", unit: "µs", most: 100 }],
		},
		{
			id: "compose",
			rounds: many,
			what: "compose of two mappings, 340 extents each",
			subjects: { userns: ours("compose", n(2000, 200)) },
			values: [{ of: "userns", value: "p50", unit: "µs", most: 200 }],
		},
		{
			id: "command",
			what: "userns show, from the shell",
			subjects: {
				userns: ours("program", n(15, 3), process.execPath, command, "show", stage.pid),
				"node -e 0": ours("program", n(15, 3), process.execPath, "-e", "0"),
			},
			ratios: [{ of: "userns", to: "node -e 0", most: 1.4 }],
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
			// As many as V8 needs to compile what runs, which takes it longer behind the collections that the memory sets off.
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
				? `by ${processes} processes, since RLIMIT_NOFILE does not allow one as many here`
				: undefined,
		subjects: { userns: { argv: [...prefix, argv[0], "--expose-gc", ...argv.slice(1)], rounds: 3 } },
		values: [
			{ of: "userns", value: "lastToFirst", unit: "× the time of the first fifth, for the last", most: 1.25 },
			{ of: "userns", value: "bytes", unit: "bytes of JavaScript each", most: 400 },
		],
	};
}

function mountRows({ many, n, peers, peer, stage, quick }) {
	const { source, target, pid, idmapped, bindfs, owned } = stage;
	const files = stage.files;
	const through = (folder) => peer("mounts", "read", folder, files, n(30, 5));
	return [
		{
			id: "mount",
			rounds: many,
			what: "mountIdmapped and unmount",
			why: {
				"userns / the system calls in C":
					"umount2 waits for a thread of RCU, which the loop in C finds awake where it does nothing else",
				"userns / the same, 10 µs apart":
					"each of the two calls wakes a thread and the event loop, and starts a child that can be left behind when a user holds the directory's lock (docs/adr/044-bounded-children.md)",
				µs: "includes what the loop itself does in a turn",
			},
			subjects: {
				userns: ours("mount", n(2000, 50), source, target),
				"the system calls in C": peer("mounts", "idmapped", source, target, pid, n(2000, 50), 0),
				"the same, 10 µs apart": peer("mounts", "idmapped", source, target, pid, n(2000, 50), 10),
				"mount --bind and umount": ours("bind", n(20, 3), source, target),
				[`chown -R of ${stage.ownedFiles.toLocaleString("en")} files`]: {
					...ours("program", 1, "chown", "-R", "100000:100000", owned),
					rounds: 1,
					...(quick && { reason: "takes too long for the quick form" }),
				},
			},
			ratios: [
				{ of: "userns", to: "the system calls in C" },
				{ of: "userns", to: "the same, 10 µs apart", most: 2 },
				{ of: "mount --bind and umount", to: "userns" },
				{ of: `chown -R of ${stage.ownedFiles.toLocaleString("en")} files`, to: "userns" },
			],
		},
		{
			id: "mountLoop",
			rounds: many,
			what: "mountIdmapped or unmount on the event loop",
			why: { µs: "includes what the loop itself does in a turn" },
			subjects: { userns: ours("mountLoop", n(2000, 50), source, target) },
			values: [{ of: "userns", value: "loopHeld", unit: "µs", most: 30 }],
		},
		{
			id: "mountMany",
			rounds: many,
			what: "1,000 mounts and their ends at once",
			why: {
				"userns / C on 4 threads":
					"a child process for each attach and each unmount, which the threads in C do without; each child copies the descriptor table, which holds some 2,000 descriptors here, and 2,000 descriptors add some 90 µs; and the event loop's share on the same processors",
			},
			subjects: {
				userns: ours("mountMany", n(1000, 50), source, stage.places),
				"C on 4 threads": peer("mounts", "many", source, stage.places, pid, n(1000, 50), 4),
			},
			ratios: [{ of: "userns", to: "C on 4 threads", value: "perSecond", least: 0.8 }],
		},
		{
			id: "reading",
			rounds: many,
			what: `reading ${files.toLocaleString("en")} files`,
			why: {
				"ID-mapped / plain": "no code of this package runs when a file is read: this is the machine's noise",
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
