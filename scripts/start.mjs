// The main job: from a clean clone to an ID-mapped mount of the project's own checkout, and nothing left behind.
import { spawnSync } from "node:child_process";
import {
	chmodSync,
	chownSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	readFileSync,
	rmSync,
	statSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "./build.mjs";
import { root, run } from "./setup.mjs";

const MAP = "0:2100000000:65536";
const INSIDE = "--in-mount-namespace";

/** Rows as columns of equal width. */
function columns(rows) {
	const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
	for (const row of rows)
		console.log(
			`  ${row
				.map((cell, i) => cell.padEnd(widths[i]))
				.join("  ")
				.trimEnd()}`,
		);
}

function owner(path) {
	const { uid, gid } = statSync(path);
	return `${uid}:${gid}`;
}

/** The pids of this process's children, zombies included. */
function children() {
	for (;;) {
		try {
			return readdirSync("/proc/self/task").flatMap((task) =>
				readFileSync(`/proc/self/task/${task}/children`, "utf8").split(" ").filter(Boolean),
			);
		} catch (error) {
			// A thread ended while the threads were listed, and its children belong to another thread now.
			if (error.code !== "ENOENT" && error.code !== "ESRCH") throw error;
		}
	}
}

async function microseconds(action) {
	const start = process.hrtime.bigint();
	const result = await action();
	return [result, `${Math.round(Number(process.hrtime.bigint() - start) / 1000)} µs`];
}

/** Two spellings of one mapping, one namespace; the first handle makes it, the second is a duplicate. */
async function showHandles({ Handles }, first, second) {
	// The build may have left esbuild's service running. Only what the library starts counts.
	const before = children();
	const handles = new Handles();
	const [a, made] = await microseconds(() => handles.get(first));
	const [b, cached] = await microseconds(() => handles.get(second));
	console.log("\nOne namespace for one mapping, whatever the order of its extents:");
	columns([
		["mapping", "namespace", "descriptor", "time"],
		[first, `${a.inode}`, `${a.fd}`, `${made}, made`],
		[second, `${b.inode}`, `${b.fd}`, `${cached}, cached`],
	]);
	console.log(`  the same namespace: ${a.equals(b) ? "yes" : "NO"}`);
	const left = children().filter((pid) => !before.includes(pid));
	console.log(`  processes left behind: ${left.length === 0 ? "none" : left.join(" ")}`);
	if (!a.equals(b) || left.length > 0) process.exitCode = 1;
	for (const namespace of [a, b]) namespace.close();
	handles.release();
}

async function showCheckout({ mountIdmapped }, folder) {
	const target = join(folder, "checkout");
	mkdirSync(target);
	const mount = await mountIdmapped({ source: root, target, mapping: MAP, readonly: true });
	try {
		console.log(`This checkout, mounted read-only with the mapping ${MAP}:`);
		const names = ["package.json", "src", "native", "scripts"];
		columns([
			["path", "on disk", "visible"],
			...names.map((name) => [name, owner(join(root, name)), owner(join(target, name))]),
		]);
	} finally {
		await mount.unmount();
	}
}

async function showWrite({ mountIdmapped }, folder) {
	const source = join(folder, "data");
	const target = join(folder, "mounted");
	mkdirSync(source);
	mkdirSync(target);
	chownSync(source, 1000, 1000);
	const mount = await mountIdmapped({ source, target, mapping: "1000:0:1" });
	try {
		writeFileSync(join(target, "note.txt"), "written by root, owned by 1000\n");
		console.log("\nA file that root wrote through a mount with the mapping 1000:0:1:");
		columns([
			["path", "on disk", "visible"],
			["note.txt", owner(join(source, "note.txt")), owner(join(target, "note.txt"))],
		]);
	} finally {
		await mount.unmount();
	}
}

async function withRoot(userns) {
	const folder = mkdtempSync(join(tmpdir(), "userns-start-"));
	try {
		await showCheckout(userns, folder);
		await showWrite(userns, folder);
		await showHandles(userns, "0:2100000000:1000,5000:2100100000:10", "5000:2100100000:10,0:2100000000:1000");
		const work = join(folder, "work");
		mkdirSync(work);
		for (const place of [folder, work]) chmodSync(place, place === work ? 0o777 : 0o711);
		await showPrograms(userns, "0:2100000000:65536", work, [0, 33]);
	} finally {
		// Only empty targets are left in it: had an unmount failed, its files would be somebody's.
		if (!readFileSync("/proc/self/mountinfo", "utf8").includes(` ${folder}/`))
			rmSync(folder, { recursive: true });
	}
	console.log("\nEverything is unmounted; nothing on disk was changed.");
}

/** What a program says on its standard output, inside. */
function ask(namespace, command, args, options) {
	return new Promise((resolve, reject) => {
		const child = namespace.spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], ...options });
		let said = "";
		child.stdout.on("data", (chunk) => {
			said += chunk;
		});
		child.on("error", reject);
		child.on("close", () => resolve(said.trim()));
	});
}

/** Programs inside: as whom they run there, and whose the files are that they make. */
async function showPrograms({ UserNamespace }, mapping, folder, users) {
	const namespace = await UserNamespace.create(mapping, { setgroups: "allow" });
	console.log(`\nPrograms in a namespace with the mapping ${mapping}:`);
	const rows = [["as", "id -u says", "a file of theirs belongs to, outside"]];
	try {
		for (const uid of users) {
			const file = join(folder, `by-${uid}`);
			const said = await ask(namespace, "sh", ["-c", 'id -u; touch "$1"', "sh", file], { uid, gid: uid });
			rows.push([`uid ${uid}`, said, owner(file)]);
		}
		columns(rows);
	} finally {
		// Who is nobody to us can take his files away only from inside.
		await ask(namespace, "sh", ["-c", `rm -f "$1"/by-*`, "sh", folder], {});
		namespace.close();
	}
}

/** Why an ordinary user can have no subordinate IDs here: what is left out then, and no failure. */
const WITHOUT_SUBIDS = [
	"ERR_USERNS_NO_SUBIDS",
	"ERR_USERNS_HELPER_MISSING",
	"ERR_USERNS_HELPER_FAILED",
	"ERR_USERNS_UNKNOWN_USER",
];

/** Without privilege the kernel lets a process map its own uid and gid; newuidmap lets it map its subordinate IDs. */
async function withoutRoot(userns) {
	console.log("Left out without root: ID-mapped mounts. Run it as root to see them.");
	const own = `u:0:${process.getuid()}:1,g:0:${process.getgid()}:1`;
	const swapped = `g:0:${process.getgid()}:1,u:0:${process.getuid()}:1`;
	await showHandles(userns, own, swapped);
	const folder = mkdtempSync(join(tmpdir(), "userns-start-"));
	chmodSync(folder, 0o777); // the subordinate IDs are others
	try {
		await showPrograms(userns, userns.Mapping.rootless(), folder, [0, 33]);
	} catch (error) {
		if (!WITHOUT_SUBIDS.includes(error.code)) throw error;
		console.log(`\nPrograms as several users are left out: ${error.message}`);
		console.log(`hint: ${error.hint}`);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

function explain(error) {
	console.error(`userns: ${error.message}`);
	if (error.hint) console.error(`hint: ${error.hint}`);
	process.exitCode = 1;
}

async function show() {
	const userns = await import("../dist/src/index.js");
	try {
		await (process.geteuid() === 0 ? withRoot(userns) : withoutRoot(userns));
	} catch (error) {
		explain(error);
	}
}

/** In a mount namespace of its own, so that a mount is gone with us even when we are killed; where that works. */
async function main() {
	await build();
	if (process.platform !== "linux") {
		const { Mapping } = await import("../dist/src/index.js");
		console.log(`This is ${process.platform}: only mappings can be shown, the rest needs Linux.`);
		console.log(JSON.stringify(Mapping.parse(MAP)));
		return;
	}
	const unshare = ["--mount", "--propagation", "private"];
	const works = process.geteuid() === 0 && spawnSync("unshare", [...unshare, "true"]).status === 0;
	if (works) run("unshare", [...unshare, process.execPath, new URL(import.meta.url).pathname, INSIDE]);
	else await show();
}

await (process.argv.includes(INSIDE) ? show() : main());
