// Times of one action: the same quantiles as bench/peers/measure.h and the Go program have.

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

/** `action` is called `batch` times for one time, after a few calls that do not count. */
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

export async function measureAsync(action, rounds) {
	const times = [];
	for (let i = 0; i < 20; i++) await action();
	for (let i = 0; i < rounds; i++) {
		const start = now();
		await action();
		times.push(now() - start);
	}
	return summary(times);
}
