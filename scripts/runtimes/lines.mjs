// A reporter of node:test: a line of JSON for each test, in the form of test/runtimes/main.ts.
export default async function* lines(events) {
	for await (const { type, data } of events) {
		if ((type !== "test:pass" && type !== "test:fail") || data.details?.type === "suite") continue;
		const skipped = data.skip !== undefined && data.skip !== false;
		const result = skipped ? "skipped" : type === "test:pass" ? "passed" : "failed";
		const error = data.details?.error;
		const why = skipped ? String(data.skip) : error === undefined ? undefined : String(error.cause ?? error);
		yield `${JSON.stringify({ name: data.name, result, why })}\n`;
	}
}
