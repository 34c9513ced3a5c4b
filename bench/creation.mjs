// How long creation takes as the process grows, and what a cached handle costs. One process a trial; JSON out.
// Ratios count, not seconds: machines differ and are noisy.
import { spawnSync } from "node:child_process";
import { cpus, release } from "node:os";
import { fileURLToPath } from "node:url";

const ROUNDS = 300;
const TRIALS = 3;
const index = new URL("../dist/src/index.js", import.meta.url);

function quantile(sorted, share) {
	return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

function summary(times) {
	const sorted = times.sort((a, b) => a - b);
	return { p50: Math.round(quantile(sorted, 0.5)), p99: Math.round(quantile(sorted, 0.99)) };
}

async function measure(action, rounds = ROUNDS) {
	const times = [];
	for (let i = 0; i < rounds; i++) {
		const start = process.hrtime.bigint();
		await action();
		times.push(Number(process.hrtime.bigint() - start) / 1000);
	}
	return summary(times);
}

/** One trial: its memory is resident before the first measurement. */
async function trial(mebibytes) {
	const { Handles, UserNamespace } = await import(index);
	const held = [];
	for (let i = 0; i < mebibytes; i++) held.push(Buffer.alloc(1 << 20, 1));
	const map = "0:100000:65536";
	for (let i = 0; i < 20; i++) UserNamespace.createSync(map).close();
	const handles = new Handles();
	handles.getSync(map).close();
	const result = {
		residentMiB: Math.round(process.memoryUsage().rss / (1 << 20)),
		createSync: await measure(() => UserNamespace.createSync(map).close()),
		create: await measure(async () => (await UserNamespace.create(map)).close()),
		cachedGetSync: await measure(() => handles.getSync(map).close()),
		unshareProgram: await measure(() => spawnSync("unshare", ["--user", "--map-root-user", "true"]), 20),
	};
	handles.release();
	console.log(JSON.stringify({ ...result, held: held.length }));
}

function run(mebibytes) {
	const result = spawnSync(process.execPath, [fileURLToPath(import.meta.url), `${mebibytes}`], {
		encoding: "utf8",
	});
	if (result.status !== 0) throw new Error(result.stderr);
	return JSON.parse(result.stdout);
}

function main() {
	const trials = [];
	for (let i = 0; i < TRIALS; i++) trials.push({ empty: run(0), gibibyte: run(1024) });
	const ratio = (pick) => {
		const ratios = trials.map(({ empty, gibibyte }) => pick(gibibyte) / pick(empty)).sort((a, b) => a - b);
		return Number(ratios[Math.floor(ratios.length / 2)].toFixed(2));
	};
	console.log(
		JSON.stringify(
			{
				kernel: release(),
				node: process.version,
				cpu: cpus()[0]?.model,
				unit: "µs",
				rounds: ROUNDS,
				oneGibibyteToEmpty: {
					createSyncP50: ratio((trial) => trial.createSync.p50),
					createP50: ratio((trial) => trial.create.p50),
					unshareProgramP50: ratio((trial) => trial.unshareProgram.p50),
				},
				trials,
			},
			null,
			"\t",
		),
	);
}

if (process.argv[2] === undefined) main();
else await trial(Number(process.argv[2]));
