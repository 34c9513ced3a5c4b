// What the pure part costs: reading, identity and algebra on small and on the largest mappings. JSON out, µs.
import { Mapping } from "../dist/src/index.js";

const ROUNDS = 2000;

function median(action) {
	const times = [];
	for (let i = 0; i < ROUNDS; i++) {
		const start = process.hrtime.bigint();
		action();
		times.push(Number(process.hrtime.bigint() - start) / 1000);
	}
	return Number(times.sort((a, b) => a - b)[ROUNDS / 2].toFixed(1));
}

const largest = (offset, step) => ({
	uidMappings: Array.from({ length: 340 }, (_, i) => ({
		containerID: i * 3,
		hostID: offset + i * step,
		size: 2,
	})),
});
const small = "0:100000:1000,1000:1000:1,1001:101001:64535";
const a = Mapping.from(largest(0, 3));
const b = Mapping.from(largest(2000, 4));
const text = a.toString();
console.log(
	JSON.stringify(
		{
			node: process.version,
			unit: "µs, p50",
			extents: { small: 3, largest: 340 },
			parse: {
				small: median(() => Mapping.parse(small, "colon")),
				largest: median(() => Mapping.parse(text, "colon")),
			},
			recognise: { small: median(() => Mapping.parse(small)) },
			id: { largest: median(() => Mapping.from(a.toJSON()).id) },
			compose: {
				small: median(() => Mapping.from(small).compose(small)),
				largest: median(() => a.compose(b)),
			},
			subtract: { largest: median(() => a.subtract(b)) },
			translate: { largest: median(() => a.uidToHost(600)) },
		},
		null,
		"\t",
	),
);
