// A second reporter, which prints at the end how many tests were skipped, by reason.
export default async function* skipped(events) {
	const reasons = new Map();
	for await (const { type, data } of events) {
		if (type !== "test:pass" || data.skip === undefined) continue;
		const reason = data.skip === true ? "no reason given" : data.skip;
		reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
	}
	if (reasons.size === 0) return;
	yield "\nLeft out:\n";
	for (const [reason, count] of [...reasons].sort((a, b) => b[1] - a[1])) {
		yield `  ${String(count).padStart(4)} ${count === 1 ? "test" : "tests"}: ${reason}\n`;
	}
}
