// `npm start`: sets up a clean clone, shows what the package does on this checkout, and leaves nothing behind.
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
	return [result, `${Math.round(Number(process.hrtime.bigint() - start) / 1000)} µs`];
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

/** A tmpfs that belongs to the namespace's user, mounted with a mapping. The mounts end with the program. */
async function showOwnTmpfs({ UserNamespace }, mapping, folder) {
	const script = `set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/data" "$1/view"
touch "$1/data/note.txt"
"$2" "$3" mount --map 0:1000:1 "$1/data" "$1/view" >/dev/null
stat -c %u:%g "$1/data/note.txt" "$1/view/note.txt"`;
	const namespace = await UserNamespace.create(mapping);
	try {
		const command = join(root, "dist/src/cli/userns.cjs");
		const args = ["-c", `{ ${script}; } 2>&1`, "sh", folder, process.execPath, command];
		const printed = await ask(namespace, "sh", args, { unshare: ["mount"] });
		const [disk, visible, ...more] = printed.split("\n");
		if (!/^\d+:\d+$/.test(disk) || visible === undefined || more.length > 0) {
			console.log(`\nAn ID-mapped mount of an own tmpfs is left out: ${disk.replace(/^userns: /, "")}`);
			return;
		}
		console.log("\nA file on a tmpfs that this user mounted inside, with the mapping 0:1000:1:");
		columns([
			["path", "on disk", "visible"],
			["note.txt", disk, visible],
		]);
	} finally {
		namespace.close();
	}
}

/** The errors of a user without subordinate IDs, and of a machine where such a user may create no user namespace. */
const NOT_ALLOWED = [
	"ERR_USERNS_NO_SUBIDS",
	"ERR_USERNS_HELPER_MISSING",
	"ERR_USERNS_HELPER_FAILED",
	"ERR_USERNS_UNKNOWN_USER",
	"ERR_USERNS_RESTRICTED",
	"ERR_USERNS_LIMIT",
];

/** Runs a part. If this user may not do it, that is no failure of npm start, which then shows less, and false is returned. */
async function orLeaveOut(what, part) {
	try {
		await part();
		return true;
	} catch (error) {
		if (!NOT_ALLOWED.includes(error.code)) throw error;
		console.log(`\n${what} are left out: ${error.message}`);
		console.log(`hint: ${error.hint}`);
		return false;
	}
}

/** Without privilege, the kernel accepts a map of the own uid and gid, and newuidmap writes one of subordinate IDs. */
async function withoutRoot(userns) {
	console.log("Mounts of this machine's files need root: npm start shows them as root.");
	const own = `u:0:${process.getuid()}:1,g:0:${process.getgid()}:1`;
	const swapped = `g:0:${process.getgid()}:1,u:0:${process.getuid()}:1`;
	if (!(await orLeaveOut("User namespaces", () => showHandles(userns, own, swapped)))) return;
	const folder = mkdtempSync(join(tmpdir(), "userns-start-"));
	chmodSync(folder, 0o777); // for the subordinate IDs, which are other users
	try {
		await orLeaveOut("Programs as several users", async () => {
			const mapping = userns.Mapping.rootless();
			await showPrograms(userns, mapping, folder, [0, 33]);
			await showOwnTmpfs(userns, mapping, folder);
		});
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

/** Runs in a new mount namespace if possible, so that the kernel unmounts everything even if this process is killed. */
async function main() {
	await build();
	if (process.platform !== "linux") {
		const { Mapping } = await import("../dist/src/index.js");
		console.log(`This is ${process.platform}: only mappings are shown, because everything else needs Linux.`);
		console.log(JSON.stringify(Mapping.parse(MAP)));
		return;
	}
	const unshare = ["--mount", "--propagation", "private"];
	const works = process.geteuid() === 0 && spawnSync("unshare", [...unshare, "true"]).status === 0;
	if (works) run("unshare", [...unshare, process.execPath, new URL(import.meta.url).pathname, INSIDE]);
	else await show();
}

await (process.argv.includes(INSIDE) ? show() : main());
