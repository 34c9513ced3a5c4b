// One trial of this package, in a process of its own: `node trial.mjs NAME ARGUMENT…` prints one line of JSON.
import { spawn, spawnSync } from "node:child_process";
import { randomFill } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { Handles, Mapping, mountIdmapped, UserNamespace } from "../dist/src/index.js";
import { measure, measureAsync, now, quantile } from "./measure.mjs";

const MAP = "0:100000:65536";

/** Extents that do not merge, for both kinds; 340 of them just fit in the 4095 bytes that the kernel takes. */
function extents(count) {
	const list = Array.from({ length: count }, (_, i) => ({
		containerID: i * 3,
		hostID: 1000 + i * 3,
		size: 2,
	}));
	return { uidMappings: list, gidMappings: list };
}

/** Makes that much memory resident; what is returned keeps it so. */
function resident(mebibytes) {
	return Array.from({ length: mebibytes }, () => Buffer.alloc(1 << 20, 1));
}

function handlesOf(body) {
	const handles = new Handles();
	try {
		return body(handles);
	} finally {
		handles.release();
	}
}

function hold(count) {
	const mapping = Mapping.from(MAP);
	const list = new Array(count);
	UserNamespace.createSync(mapping).close();
	globalThis.gc();
	const before = process.memoryUsage().heapUsed;
	const marks = [now()];
	for (let i = 0; i < count; i++) {
		list[i] = UserNamespace.createSync(mapping);
		if ((i + 1) % (count / 5) === 0) marks.push(now());
	}
	globalThis.gc();
	// The list itself is not a part of a handle.
	const bytes = (process.memoryUsage().heapUsed - before) / count;
	return {
		list,
		createEach: (marks[5] - marks[0]) / count,
		firstFifth: marks[1] - marks[0],
		lastFifth: marks[5] - marks[4],
		bytes,
		end: now(),
	};
}

/** A process that holds so many, when it has them. */
async function startHolder(count) {
	const child = spawn(process.execPath, [...process.execArgv, process.argv[1], "holder", String(count)], {
		stdio: ["pipe", "pipe", "inherit"],
	});
	const ended = once(child, "close");
	const [line] = await once(child.stdout, "data");
	return { child, ended, marks: JSON.parse(String(line)) };
}

const trials = {
	/** The first get of a mapping: nothing is cached before or afterwards. */
	first(rounds, mebibytes) {
		const held = resident(mebibytes);
		const mapping = Mapping.from(MAP);
		const result = measure(() => handlesOf((handles) => handles.getSync(mapping).close()), rounds);
		return { ...result, held: held.length };
	},

	async firstAsync(rounds) {
		const mapping = Mapping.from(MAP);
		const once = async () => {
			const handles = new Handles();
			(await handles.get(mapping)).close();
			handles.release();
		};
		const result = await measureAsync(once, rounds);
		// All that the loop did beside waiting, whoever it was for: an upper bound of what a call holds it.
		const holds = [];
		for (let i = 0; i < rounds; i++) {
			const handles = new Handles();
			const before = performance.eventLoopUtilization();
			const namespace = await handles.get(mapping);
			holds.push(performance.eventLoopUtilization(before).active * 1000);
			namespace.close();
			handles.release();
		}
		return { ...result, loopHeld: quantile(holds, 0.5) };
	},

	/** What a thread of the pool and the way back cost, with nothing to do there. */
	emptyWork(rounds) {
		const byte = Buffer.alloc(1);
		return measureAsync(() => new Promise((resolve) => randomFill(byte, resolve)), rounds);
	},

	cached(rounds, count) {
		const mapping = Mapping.from(extents(count));
		return handlesOf((handles) => measure(() => handles.getSync(mapping).close(), rounds, 100));
	},

	/** The median of nine bursts behind three, in which V8 compiles what it finds worth it, once in the life of a process. */
	async many(count) {
		const rates = [];
		for (let burst = 0; burst < 12; burst++) {
			const first = 100_000 * (burst + 1);
			const mappings = Array.from({ length: count }, (_, i) => Mapping.from(`0:${first + i}:1000`));
			const handles = new Handles();
			const start = now();
			const made = await Promise.all(mappings.map((mapping) => handles.get(mapping)));
			if (burst >= 3) rates.push((count / (now() - start)) * 1e6);
			for (const namespace of made) namespace.close();
			handles.release();
		}
		return { perSecond: quantile(rates, 0.5) };
	},

	/**
	 * So many namespaces held by so many processes, one after the other: what the last fifth of the last one took against
	 * the first fifth of the first, and what the objects take in JavaScript.
	 */
	async held(count, processes) {
		const others = [];
		try {
			for (let i = 1; i < processes; i++) others.push(await startHolder(count));
			const last = hold(count);
			const first = others[0]?.marks ?? last;
			for (const namespace of last.list) namespace.close();
			const closeEach = (now() - last.end) / count;
			return { ...last, list: undefined, lastToFirst: last.lastFifth / first.firstFifth, closeEach };
		} finally {
			for (const { child, ended } of others) {
				child.stdin.end();
				await ended;
			}
		}
	},

	/** Holds them until its standard input ends. */
	async holder(count) {
		const { list, ...marks } = hold(count);
		console.log(JSON.stringify(marks));
		for await (const _ of process.stdin);
		for (const namespace of list) namespace.close();
	},

	known(rounds, pid) {
		return measure(() => {
			const namespace = UserNamespace.open(pid);
			namespace.mappingSync();
			namespace.close();
		}, rounds);
	},

	joined(rounds, pid) {
		const path = `/proc/${pid}/ns/user`;
		const fd = openSync(path, "r");
		const result = measure(() => {
			const namespace = UserNamespace.open(`/proc/self/fd/${fd}`);
			namespace.mappingSync();
			namespace.close();
		}, rounds);
		closeSync(fd);
		return result;
	},

	async mount(rounds, source, target) {
		const handles = new Handles();
		const mapping = Mapping.from(MAP);
		const result = await measureAsync(async () => {
			await (await mountIdmapped({ source, target, mapping, handles })).unmount();
		}, rounds);
		handles.release();
		return result;
	},

	/** How long a call of mountIdmapped and of unmount hold the event loop: the longer of the two medians. */
	async mountLoop(rounds, source, target) {
		const handles = new Handles();
		const mapping = Mapping.from(MAP);
		const holds = [[], []];
		const held = async (list, work) => {
			const before = performance.eventLoopUtilization();
			const result = await work();
			list.push(performance.eventLoopUtilization(before).active * 1000);
			return result;
		};
		for (let i = 0; i < rounds; i++) {
			const mount = await held(holds[0], () => mountIdmapped({ source, target, mapping, handles }));
			await held(holds[1], () => mount.unmount());
		}
		handles.release();
		return { loopHeld: Math.max(...holds.map((list) => quantile(list, 0.5))) };
	},

	/** Mounts on the directories of a folder, all at once, and then their ends. */
	async mountMany(count, source, folder) {
		const handles = new Handles();
		const mapping = Mapping.from(MAP);
		const rates = [];
		for (let burst = 0; burst < 12; burst++) {
			const start = now();
			const options = (i) => ({ source, target: `${folder}/${i}`, mapping, handles });
			const made = await Promise.all(Array.from({ length: count }, (_, i) => mountIdmapped(options(i))));
			await Promise.all(made.map((mount) => mount.unmount()));
			if (burst >= 3) rates.push((count / (now() - start)) * 1e6);
		}
		handles.release();
		return { perSecond: quantile(rates, 0.5) };
	},

	parse(rounds) {
		const text = Mapping.from(extents(340)).toString();
		return measure(() => Mapping.parse(text, "colon").id, rounds);
	},

	compose(rounds) {
		const inner = Mapping.from(extents(340));
		const list = Array.from({ length: 340 }, (_, i) => ({
			containerID: 1001 + i * 3,
			hostID: i * 4,
			size: 2,
		}));
		const outer = Mapping.from({ uidMappings: list, gidMappings: list });
		return measure(() => inner.compose(outer), rounds);
	},

	/** Any program, as Node starts it. */
	program(rounds, ...command) {
		const [file, ...args] = command.map(String);
		return measure(
			() => {
				const { status, stderr, error } = spawnSync(file, args, { stdio: ["ignore", "ignore", "pipe"] });
				if (status !== 0) throw error ?? new Error(`${command.join(" ")}: ${stderr}`);
			},
			rounds,
			1,
			Math.min(rounds - 1, 2),
		);
	},

	/** A mount made and taken away by programs. */
	bind(rounds, source, target) {
		return measure(
			() => {
				for (const command of [
					["mount", "--bind", source, target],
					["umount", target],
				]) {
					if (spawnSync(command[0], command.slice(1)).status !== 0) throw new Error(command.join(" "));
				}
			},
			rounds,
			1,
			2,
		);
	},
};

const [name, ...words] = process.argv.slice(2);
const result = await trials[name](...words.map((word) => (/^\d+$/.test(word) ? Number(word) : word)));
if (result === undefined) process.exit(0); // a part of another trial
const children = readFileSync("/proc/thread-self/children", "utf8");
if (children !== "") throw new Error(`children are left: ${children}`);
console.log(JSON.stringify(result));
