// Times of one action, with the quantiles of bench/peers/measure.h and of the Go program.
import { createRequire } from "node:module";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";

export function quantile(values, share) {
	const sorted = [...values].sort((a, b) => a - b);
	return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

function summary(times) {
	const mean = times.reduce((sum, time) => sum + time, 0) / times.length;
	return { p50: quantile(times, 0.5), p90: quantile(times, 0.9), mean };
}

/** Microseconds. */
export function now() {
	return Number(process.hrtime.bigint()) / 1000;
}

/** One time is that of `batch` calls of `action`. The first `warmUps` calls do not count. */
export function measure(action, rounds, batch = 1, warmUps = 20) {
	const times = [];
	for (let i = 0; i < warmUps; i++) action();
	for (let i = 0; i < rounds; i++) {
		const start = now();
		for (let j = 0; j < batch; j++) action();
		times.push((now() - start) / batch);
	}
	return summary(times);
}

export async function measureAsync(action, rounds, warmUps = 20) {
	const times = [];
	for (let i = 0; i < warmUps; i++) await action();
	for (let i = 0; i < rounds; i++) {
		const start = now();
		await action();
		times.push(now() - start);
	}
	return summary(times);
}

let usage;

/** The CPU time of this process, all its threads and the child processes that have ended, in microseconds. */
function cpuTime() {
	usage ??= createRequire(import.meta.url)("../dist/bench/usage.node");
	const { user, system } = process.cpuUsage();
	return user + system + usage.children();
}

/** Like `measureAsync`, with the mean CPU time of a call, because V8 compiles and frees memory beside the calls. */
export async function measureWithCpu(action, rounds, warmUps) {
	for (let i = 0; i < warmUps; i++) await action();
	await sleep(20); // the compilation that the first calls started
	const before = cpuTime();
	const result = await measureAsync(action, rounds, 0);
	return { ...result, cpu: (cpuTime() - before) / rounds };
}

/** How long the event loop is not waiting during one call of `action`, its own turn included: an upper bound of what the call holds it. */
export async function loopTime(action) {
	const before = performance.eventLoopUtilization();
	const result = await action();
	return { result, held: performance.eventLoopUtilization(before).active * 1000 };
}
