// One trial of this package, in its own process: `node trial.mjs NAME ARGUMENT…` prints one line of JSON.
import { spawn, spawnSync } from "node:child_process";
import { randomFill } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync, readFileSync } from "node:fs";
import { Handles, Mapping, mountIdmapped, mounts, UserNamespace } from "../dist/src/library/userns.js";
import { loopTime, measure, measureAsync, measureWithCpu, now, quantile } from "./measure.mjs";

const MAP = "0:100000:65536";

/** Extents that do not merge, for both kinds. 340 of them fit in the 4095 bytes that the kernel takes. */
function extents(count, firstHostID = 1000) {
	const list = Array.from({ length: count }, (_, i) => ({
		containerID: i * 3,
		hostID: firstHostID + i * 3,
		size: 2,
	}));
	return { uidMappings: list, gidMappings: list };
}

/** The mapping of hosts behind that of `extents`, for the composition of both. */
function outerExtents(count) {
	const list = Array.from({ length: count }, (_, i) => ({
		containerID: 1001 + i * 3,
		hostID: i * 4,
		size: 2,
	}));
	return { uidMappings: list, gidMappings: list };
}

/** Makes that much memory resident until the result is freed. */
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

/** Starts a process that holds `count` namespaces, and returns when it has created them. */
async function startHolder(count) {
	const child = spawn(process.execPath, [...process.execArgv, process.argv[1], "holder", String(count)], {
		stdio: ["pipe", "pipe", "inherit"],
	});
	const ended = once(child, "close");
	const [line] = await once(child.stdout, "data");
	return { child, ended, marks: JSON.parse(String(line)) };
}

/** JavaScript memory, also outside the heap. V8 frees unused code only after several collections. */
function memory() {
	for (let i = 0; i < 10; i++) globalThis.gc();
	const { heapUsed, external } = process.memoryUsage();
	return heapUsed + external;
}

/** The extents of both kinds of a text such as `0:1000:2,3:1003:2`, and the text again, without any check. */
function parsePlainly(text) {
	const list = text.split(",").map((part) => {
		const [containerID, hostID, size] = part.split(":").map(Number);
		return { containerID, hostID, size };
	});
	return list.map(({ containerID, hostID, size }) => `${containerID}:${hostID}:${size}`).join(",");
}

/** Both lists are sorted by the IDs in the middle, and nothing is checked. */
function composePlainly(inner, outer) {
	const result = [];
	let first = 0;
	for (const { containerID, hostID, size } of inner) {
		const end = hostID + size;
		while (first < outer.length && outer[first].containerID + outer[first].size <= hostID) first++;
		for (let i = first; i < outer.length && outer[i].containerID < end; i++) {
			const from = Math.max(hostID, outer[i].containerID);
			const until = Math.min(end, outer[i].containerID + outer[i].size);
			result.push({
				containerID: containerID + from - hostID,
				hostID: outer[i].hostID + from - outer[i].containerID,
				size: until - from,
			});
		}
	}
	return result;
}

/** Resolves when the program has ended with the status 0. */
function ended(child) {
	return new Promise((resolve, reject) => {
		child.once("error", reject);
		child.once("exit", (status) => (status === 0 ? resolve() : reject(new Error(`status ${status}`))));
	});
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
		const holds = [];
		for (let i = 0; i < rounds; i++) {
			const handles = new Handles();
			const { result: namespace, held } = await loopTime(() => handles.get(mapping));
			holds.push(held);
			namespace.close();
			handles.release();
		}
		return { ...result, loopHeld: quantile(holds, 0.5) };
	},

	/** A thread of libuv's pool and the way back, with nothing to do on the thread. */
	async emptyWork(rounds) {
		const byte = Buffer.alloc(1);
		const action = () => new Promise((resolve) => randomFill(byte, resolve));
		const result = await measureAsync(action, rounds);
		const holds = [];
		for (let i = 0; i < rounds; i++) holds.push((await loopTime(action)).held);
		return { ...result, loopHeld: quantile(holds, 0.5) };
	},

	cached(rounds, count) {
		const mapping = Mapping.from(extents(count));
		return handlesOf((handles) => measure(() => handles.getSync(mapping).close(), rounds, 100));
	},

	/** The bytes of JavaScript memory for each handle of a cache of so many mappings, which have nothing in common. */
	cachedBytes(count, extentCount) {
		const handles = new Handles();
		const fill = (target, first, until) => {
			for (let i = first; i < until; i++)
				target.getSync(Mapping.from(extents(extentCount, 1000 + i))).close();
		};
		handlesOf((others) => fill(others, count, 2 * count)); // compiles the code
		const before = memory();
		fill(handles, 0, count);
		const bytes = (memory() - before) / count;
		handles.release();
		return { bytes };
	},

	/** The median of nine bursts after three, in which V8 compiles the code. */
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
	 * Namespaces held by processes that start one after the other: the time of the last fifth in the last process divided by
	 * that of the first fifth in the first one, and the JavaScript memory of the objects.
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

	/** Holds the namespaces until its standard input ends. */
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

	/** How long mountIdmapped and unmount hold the event loop: the longer of the two medians. */
	async mountLoop(rounds, source, target) {
		const handles = new Handles();
		const mapping = Mapping.from(MAP);
		const holds = [[], []];
		const held = async (list, work) => {
			const { result, held: time } = await loopTime(work);
			list.push(time);
			return result;
		};
		for (let i = 0; i < rounds; i++) {
			const mount = await held(holds[0], () => mountIdmapped({ source, target, mapping, handles }));
			await held(holds[1], () => mount.unmount());
		}
		handles.release();
		return { loopHeld: Math.max(...holds.map((list) => quantile(list, 0.5))) };
	},

	/** Mounts on the directories of a folder, all at once, and then their unmounts. */
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

	/** All mounts of this process's mount namespace. */
	mounts(rounds, atLeast) {
		let list = [];
		const result = measure(
			() => {
				list = mounts();
			},
			rounds,
			1,
			2,
		);
		const mapped = list.filter(({ idmapped }) => idmapped);
		if (list.length < atLeast || mapped.some(({ mapping }) => mapping === undefined)) {
			throw new Error(`${list.length} mounts, ${mapped.length} of them ID-mapped, some without a mapping`);
		}
		return result;
	},

	/** The same with findmnt(8), which does not print the mappings. */
	findmnt(rounds, atLeast) {
		let text = "";
		const result = measure(
			() => {
				const options = { encoding: "utf8", maxBuffer: 2 ** 30 };
				const { status, stdout } = spawnSync("findmnt", ["-J", "--list"], options);
				if (status !== 0) throw new Error(`findmnt: status ${status}`);
				text = stdout;
				JSON.parse(text);
			},
			rounds,
			1,
			2,
		);
		const count = JSON.parse(text).filesystems.length;
		if (count < atLeast) throw new Error(`findmnt: ${count} mounts`);
		return result;
	},

	/** From the start of true(1) to its exit: by `kind`, in one user namespace for all that join one. */
	async spawned(rounds, kind) {
		// bwrap needs a user namespace in which its own user is mapped.
		const namespace = UserNamespace.createSync("0:0:65536");
		const stdio = "ignore";
		const start = {
			userns: () => namespace.spawn("true", [], { stdio }),
			child_process: () => spawn("true", [], { stdio }),
			nsenter: () => spawn("nsenter", [`--user=/proc/${process.pid}/fd/${namespace.fd}`, "true"], { stdio }),
			bwrap: () => {
				const options = { stdio: [stdio, stdio, stdio, namespace.fd] };
				return spawn("bwrap", ["--userns", "3", "--bind", "/", "/", "true"], options);
			},
		}[kind];
		const result = await measureWithCpu(() => ended(start()), rounds, Math.min(rounds, 50));
		namespace.close();
		return result;
	},

	parse(rounds) {
		const text = Mapping.from(extents(340)).toString();
		return measure(() => Mapping.parse(text, "colon").id, rounds);
	},

	parsePlain(rounds) {
		const text = Mapping.from(extents(340)).toString();
		if (parsePlainly(text) !== text) throw new Error("the plain parser is wrong");
		return measure(() => parsePlainly(text), rounds);
	},

	compose(rounds) {
		const inner = Mapping.from(extents(340));
		const outer = Mapping.from(outerExtents(340));
		return measure(() => inner.compose(outer), rounds);
	},

	composePlain(rounds) {
		const inner = extents(340);
		const outer = outerExtents(340);
		const plain = () => ({
			uidMappings: composePlainly(inner.uidMappings, outer.uidMappings),
			gidMappings: composePlainly(inner.gidMappings, outer.gidMappings),
		});
		const right = Mapping.from(inner).compose(Mapping.from(outer));
		if (Mapping.from(plain()).id !== right.id) throw new Error("the plain composition is wrong");
		return measure(plain, rounds);
	},

	/** A program that Node starts and waits for. */
	program(rounds, ...command) {
		const [file, ...args] = command.map(String);
		const run = () => {
			const { status, stderr, error } = spawnSync(file, args, { stdio: ["ignore", "ignore", "pipe"] });
			if (status !== 0) throw error ?? new Error(`${command.join(" ")}: ${stderr}`);
		};
		return measureWithCpu(run, rounds, Math.min(rounds - 1, 2));
	},

	/** A mount and its unmount by programs. */
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
if (result === undefined) process.exit(0); // the holder, which has printed its line
const children = readFileSync("/proc/thread-self/children", "utf8");
if (children !== "") throw new Error(`children are left: ${children}`);
console.log(JSON.stringify(result));
