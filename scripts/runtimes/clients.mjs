// The programs of test/clients, and the table of docs/clients.md, which the results of the last run give.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, run } from "../setup.mjs";
import { markdown } from "./table.mjs";

/** Debian's packages with the programs' names in the table. */
const PROGRAMS = {
	bubblewrap: "bubblewrap",
	crun: "crun",
	runc: "runc",
	"util-linux": "util-linux",
	uidmap: "shadow (newuidmap)",
	podman: "podman",
	"systemd-container": "systemd, systemd-nspawn",
	lxc: "lxc",
	slirp4netns: "slirp4netns",
	passt: "passt (pasta)",
};

/** The root file systems of scripts/runtimes/roots.mjs, in the order of the columns. */
export const COLUMNS = { "oldest clients": "oldest", "newest clients": "newest" };

const RESULTS = join(root, "scripts/runtimes/clients.json");
const DOCUMENT = join(root, "docs/clients.md");
const BEGIN = "<!-- written by npm run test:clients -->";
const END = "<!-- to here -->";

/** Returns the version of a program in the words of its authors, from that of Debian's package: 1:4.20.3-1 is 4.20.3. */
function upstream(version) {
	const [, date] = /git(\d{8})/.exec(version) ?? [];
	if (date !== undefined) return date.replace(/(....)(..)(..)/, "$1-$2-$3"); // passt has dates for versions
	return version.replace(/^\d+:/, "").replace(/[-+].*$/, "");
}

/** Returns the versions of the programs, from lines of NAME=VERSION. */
export function versionsOf(packages) {
	const versions = new Map(packages.map((line) => line.split("=")));
	return Object.fromEntries(Object.keys(PROGRAMS).map((name) => [name, upstream(versions.get(name))]));
}

export function readResults() {
	return JSON.parse(readFileSync(RESULTS, "utf8"));
}

/** Returns the table of docs/clients.md. */
export function tableOf(results) {
	const columns = Object.keys(COLUMNS).map((name) => results.find((each) => each.name === name));
	const counts = columns.map(({ passed, failures, skipped }) =>
		[`${passed} passed`, `${failures.length} failed`, ...(skipped > 0 ? [`${skipped} left out`] : [])].join(
			", ",
		),
	);
	const rows = Object.entries(PROGRAMS).map(([name, title]) => [
		title,
		...columns.map((each) => each.versions[name]),
	]);
	return markdown([["program", ...Object.values(COLUMNS)], ...rows, ["tests in test/clients", ...counts]]);
}

/** Writes the results, and the table into the document. */
export function writeResults(results) {
	writeFileSync(RESULTS, JSON.stringify(results, undefined, "\t"));
	run(process.execPath, [`${root}node_modules/@biomejs/biome/bin/biome`, "format", "--write", RESULTS], {
		stdio: "ignore",
	});
	const [before, rest] = readFileSync(DOCUMENT, "utf8").split(BEGIN);
	const after = rest?.split(END)[1];
	if (after === undefined) throw new Error(`${DOCUMENT} has lost its marks`);
	writeFileSync(DOCUMENT, `${before}${BEGIN}\n\n${tableOf(results)}\n\n${END}${after}`);
}
