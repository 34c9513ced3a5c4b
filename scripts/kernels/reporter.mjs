// A reporter of node --test. Its only line is what scripts/kernels/machine.mjs reads.
export default async function* report(events) {
	const found = { passed: 0, skipped: 0, failed: [] };
	for await (const { type, data } of events) {
		if (data?.details?.type === "suite") continue;
		if (type === "test:fail") found.failed.push(data.name);
		else if (type === "test:pass") found[data.skip === undefined ? "passed" : "skipped"]++;
	}
	yield `userns-kernels: ${JSON.stringify(found)}\n`;
}
