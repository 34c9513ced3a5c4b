import { readFileSync } from "node:fs";
import { userInfo } from "node:os";

const isRoot = process.geteuid?.() === 0;
/** The most IDs that a test uses. */
const WANTED = 400_000;

/** The first ID of a range that is large enough, the same for both kinds, by a parser of the tests. */
function findFirst(): number | undefined {
	if (isRoot || process.platform !== "linux") return 0;
	const firsts = ["/etc/subuid", "/etc/subgid"].map((file) => {
		const lines = readFileSync(file, "utf8").split("\n");
		const owners = [userInfo().username, String(userInfo().uid)];
		return lines
			.map((line) => line.split(":"))
			.filter(([owner = "", , size]) => owners.includes(owner) && Number(size) >= WANTED)
			.map(([, first]) => Number(first));
	});
	return firsts[0]?.find((first) => firsts[1]?.includes(first));
}

let first: number | undefined;
let reason: string | undefined;
try {
	first = findFirst();
	if (first === undefined) reason = `this user has no ${WANTED} subordinate IDs, the same for both kinds`;
} catch (error) {
	reason = `this user's subordinate IDs cannot be read: ${(error as Error).message}`;
}

/** Why this run cannot map the IDs of `hosted`, or undefined. */
export const noHostIds: string | undefined = reason;

/** A host ID of the tests: the ID itself for root, one of the user's subordinate IDs otherwise. */
export function host(id: number): number {
	return (first ?? 0) + id;
}

/** A mapping in the colon syntax, with the host IDs of this run. */
export function hosted(text: string): string {
	return text.replace(
		/(\d+):(\d+):(\d+)/g,
		(_, inside, outside, size) => `${inside}:${host(Number(outside))}:${size}`,
	);
}
