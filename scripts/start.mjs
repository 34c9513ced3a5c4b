// `npm start`: sets up a clean clone, shows what the package does on this checkout, and leaves nothing behind.
import { spawnSync } from "node:child_process";
import { once } from "node:events";
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
import { fileURLToPath } from "node:url";
import { build } from "./build.mjs";
import { root, run } from "./setup.mjs";

const MAP = "0:2100000000:65536";
const INSIDE = "--in-mount-namespace";
const OWN_TMPFS = "--own-tmpfs";

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

/** The pids of this process's children, including zombies. */
function children() {
	for (;;) {
		try {
			return readdirSync("/proc/self/task").flatMap((task) =>
				readFileSync(`/proc/self/task/${task}/children`, "utf8").split(" ").filter(Boolean),
			);
		} catch (error) {
			// A thread ended while the threads were listed. Its children belong to another thread now.
			if (error.code !== "ENOENT" && error.code !== "ESRCH") throw error;
		}
	}
}

async function microseconds(action) {
	const start = process.hrtime.bigint();
	const result = await action();
	const time = Math.round(Number(process.hrtime.bigint() - start) / 1000);
	return [result, time < 10_000 ? `${time} µs` : `${Math.round(time / 1000)} ms`]; // a slow machine must not widen the line
}

/** Two texts of the same mapping lead to one namespace. The first call creates it, the second returns a duplicate. */
async function showHandles({ Handles }, first, second) {
	// The build may have left the service process of esbuild. Only processes that the library starts count.
	const before = children();
	const handles = new Handles();
	const [a, made] = await microseconds(() => handles.get(first));
	const [b, cached] = await microseconds(() => handles.get(second));
	console.log("\nOne user namespace for one mapping, whatever the order of its extents:");
	columns([
		["mapping", "namespace", "descriptor", "time"],
		[first, `${a.inode}`, `${a.fd}`, `${made}, created`],
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
	chownSync(source, 33, 33);
	const mount = await mountIdmapped({ source, target, mapping: "33:0:1" });
	try {
		writeFileSync(join(target, "note.txt"), "written by root, owned by 33\n");
		console.log("\nA file that root wrote through a mount with the mapping 33:0:1:");
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
		for (const each of [folder, work]) chmodSync(each, each === work ? 0o777 : 0o711);
		await showPrograms(userns, "0:2100000000:65536", work, [0, 33]);
	} finally {
		// Deletes only empty mount points: after a failed unmount, rmSync() would delete the files of the mount.
		if (!readFileSync("/proc/self/mountinfo", "utf8").includes(` ${folder}/`))
			rmSync(folder, { recursive: true });
	}
	console.log("\nEvery mount is unmounted, and no owner on disk has changed.");
}

/** Runs a program in the namespace and returns its standard output. */
function ask(namespace, command, args, options) {
	return new Promise((resolve, reject) => {
		const child = namespace.spawn(command, args, { stdio: ["ignore", "pipe", "inherit"], ...options });
		let printed = "";
		child.stdout.on("data", (chunk) => {
			printed += chunk;
		});
		child.on("error", reject);
		child.on("close", () => resolve(printed.trim()));
	});
}

/** Programs in a namespace: their uid inside, and the owner of a file that they create. */
async function showPrograms({ UserNamespace }, mapping, folder, users) {
	const namespace = await UserNamespace.create(mapping, { setgroups: "allow" });
	console.log(`\nPrograms in a user namespace with the mapping ${mapping}:`);
	const rows = [["started as", "id -u prints", "owner of its file, outside"]];
	try {
		for (const uid of users) {
			const file = join(folder, `by-${uid}`);
			const printed = await ask(namespace, "sh", ["-c", 'id -u; touch "$1"', "sh", file], { uid, gid: uid });
			rows.push([`uid ${uid}`, printed, owner(file)]);
		}
		columns(rows);
	} finally {
		// Only a process in the namespace may delete files of IDs that are mapped to other users.
		await ask(namespace, "sh", ["-c", `rm -f "$1"/by-*`, "sh", folder], {});
		namespace.close();
	}
}

/** The errors of a machine or a user without what this needs. They are no failure of npm start, which then shows less. */
const NOT_HERE = [
	"ERR_USERNS_RESTRICTED",
	"ERR_USERNS_LIMIT",
	"ERR_USERNS_NO_SUBIDS",
	"ERR_USERNS_HELPER_MISSING",
	"ERR_USERNS_HELPER_FAILED",
	"ERR_USERNS_UNKNOWN_USER",
	"ERR_USERNS_UNMAPPED_ID",
];

/** Shows the parts in turn. A part that this user cannot have ends the list: one line names it and the rest, with the cause. */
async function showParts(parts) {
	for (const [i, [, part]] of parts.entries()) {
		try {
			await part();
		} catch (error) {
			if (!NOT_HERE.includes(error.code)) throw error;
			const names = parts.slice(i).map(([name]) => name);
			console.log(`\nLeft out: ${names.join(", ")}, because ${error.message}.\nhint: ${error.hint}`);
			return;
		}
	}
	console.log("\nLeft out: ID-mapped mounts of this checkout, which need root (as root: npm start).");
}

/** In the user and mount namespace of withoutRoot(): a tmpfs belongs to the namespace that mounts it, so root of this may map it. */
async function showOwnTmpfs(userns, folder) {
	run("mount", ["-t", "tmpfs", "tmpfs", folder]);
	const { supported, reason } = await userns.supports(folder);
	if (supported) await showWrite(userns, folder);
	else console.log(`\nThe user's own tmpfs is not ID-mapped: ${reason}`);
}

/** Without privilege, the kernel accepts a map of the own uid and gid, and newuidmap writes one of subordinate IDs. */
async function withoutRoot(userns) {
	const { Mapping, UserNamespace } = userns;
	const own = `u:0:${process.getuid()}:1,g:0:${process.getgid()}:1`;
	const swapped = `g:0:${process.getgid()}:1,u:0:${process.getuid()}:1`;
	const folder = mkdtempSync(join(tmpdir(), "userns-start-"));
	chmodSync(folder, 0o777); // for the subordinate IDs, which are other users
	const mountOwn = async () => {
		const namespace = await UserNamespace.create(Mapping.rootless());
		const args = [fileURLToPath(import.meta.url), OWN_TMPFS, folder];
		const child = namespace.spawn(process.execPath, args, { unshare: ["mount"], stdio: "inherit" });
		namespace.close();
		const [status] = await once(child, "close");
		if (status !== 0) process.exitCode = 1;
	};
	try {
		await showParts([
			["user namespaces", () => showHandles(userns, own, swapped)],
			["programs as several users", () => showPrograms(userns, Mapping.rootless(), folder, [0, 33])],
			["ID-mapped mounts", mountOwn],
		]);
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
	const userns = await import("../dist/src/library/userns.js");
	try {
		const folder = process.argv[process.argv.indexOf(OWN_TMPFS) + 1];
		if (process.argv.includes(OWN_TMPFS)) await showOwnTmpfs(userns, folder);
		else await (process.geteuid() === 0 ? withRoot(userns) : withoutRoot(userns));
	} catch (error) {
		explain(error);
	}
}

/** Runs in a new mount namespace if possible, so that the kernel unmounts everything even if this process is killed. */
async function main() {
	await build();
	if (process.platform !== "linux") {
		const { Mapping } = await import("../dist/src/library/userns.js");
		console.log(`This is ${process.platform}: only mappings are shown, because everything else needs Linux.`);
		console.log(JSON.stringify(Mapping.parse(MAP)));
		return;
	}
	const unshare = ["--mount", "--propagation", "private"];
	const works = process.geteuid() === 0 && spawnSync("unshare", [...unshare, "true"]).status === 0;
	if (works) run("unshare", [...unshare, process.execPath, fileURLToPath(import.meta.url), INSIDE]);
	else await show();
}

await (process.argv.includes(INSIDE) || process.argv.includes(OWN_TMPFS) ? show() : main());
