// Runs the cases without a test runner, because those of Bun and Deno differ from node:test. Prints one line of JSON for each case.
import { mounts } from "../../src/index.ts";
import { reasonToSkip } from "../support/needs.ts";
import { cases } from "./cases.ts";

const TIMEOUT_MS = 60_000;

/** A line of the output. */
interface Line {
	name: string;
	result: "passed" | "failed" | "skipped";
	/** The error, or the reason to skip. */
	why?: string;
}

function say(line: Line): void {
	process.stdout.write(`${JSON.stringify(line)}\n`);
}

/** Rejects if the case does not end. The timer keeps the process alive, which otherwise would end with 0. */
async function limited(run: () => void | Promise<void>): Promise<void> {
	let timer: NodeJS.Timeout | undefined;
	const limit = new Promise<never>((_, reject) => {
		timer = setTimeout(() => reject(new Error(`no end within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
	});
	try {
		await Promise.race([run(), limit]);
	} finally {
		clearTimeout(timer);
	}
}

async function main(): Promise<void> {
	const before = mounts().length;
	for (const { name, needs, run } of cases) {
		try {
			const reason = reasonToSkip(needs);
			if (reason !== undefined) {
				say({ name, result: "skipped", why: reason });
				continue;
			}
			await limited(run);
			const left = mounts().length - before;
			if (left !== 0) throw new Error(`the case left ${left} mounts`);
			say({ name, result: "passed" });
		} catch (error) {
			say({ name, result: "failed", why: String((error as Error)?.stack ?? error) });
		}
	}
	process.exit(0); // a case that failed can have left a child
}

await main();
