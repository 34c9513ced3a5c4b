import { spawn } from "node:child_process";
import { once } from "node:events";
import {
	closeSync,
	constants,
	fchownSync,
	fstatSync,
	mkdtempSync,
	openSync,
	readFileSync,
	rmdirSync,
	rmSync,
	statSync,
	unlinkSync,
	writeFileSync,
} from "node:fs";
import { basename, join, resolve } from "node:path";
import { type FoundCause, mountIdmapped, UsernsError } from "../index.ts";
import { CommandError, printText, reasonOf } from "./output.ts";

/** A mapping by which the caller is another user on disk than the owner of the directory, and both are mapped. */
function swap(kind: "u" | "g", owner: number, own: number): { text: string; onDisk: number } {
	const onDisk = owner === 1 ? 2 : 1;
	return { text: `${kind}:${onDisk}:${own}:1,${kind}:${owner}:${own === 3 ? 4 : 3}:1`, onDisk };
}

const CONTENT = "userns doctor\n";
const WRONG = "Use another file system: this one accepts the map, but does not support this through it";

/** What failed: the operation, and why. */
class Failed extends Error {}

function step<T>(what: string, run: () => T): T {
	try {
		return run();
	} catch (error) {
		throw new Failed(`${what}: ${(error as Error).message}`);
	}
}

/**
 * The directory belongs to another user on disk than the one as whom the caller appears, which the caller's capabilities outweigh. A
 * server, such as virtiofsd, sees that user only, so the directory is given to the user if the file is refused.
 */
function createFile(source: number, path: string, uid: number, gid: number): void {
	const create = () => writeFileSync(path, CONTENT, { flag: "wx" });
	try {
		create();
	} catch (error) {
		if ((error as NodeJS.ErrnoException).code !== "EACCES") throw error;
		try {
			fchownSync(source, uid, gid);
		} catch {
			throw error;
		}
		create();
	}
}

async function tryFile(source: number, name: string): Promise<void> {
	const { uid, gid } = fstatSync(source);
	const own = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
	const [u, g] = [swap("u", uid, own.uid), swap("g", gid, own.gid)];
	const mount = await mountIdmapped({ source, mapping: `${u.text},${g.text}` });
	const inside = `/proc/self/fd/${mount.fd}/${name}`;
	try {
		step("creating a file through the map failed", () => createFile(source, inside, u.onDisk, g.onDisk));
		step("the owner of the new file is wrong", () => {
			const [seen, disk] = [statSync(inside), statSync(`/proc/self/fd/${source}/${name}`)];
			const found = [seen.uid, seen.gid, disk.uid, disk.gid].join(":");
			const wanted = [own.uid, own.gid, u.onDisk, g.onDisk].join(":");
			if (found !== wanted) throw new Error(`visible and on disk ${found}, not ${wanted}`);
		});
		step("reading the file through the map failed", () => {
			if (readFileSync(inside, "utf8") !== CONTENT) throw new Error("its content differs");
		});
		step("removing the file through the map failed", () => unlinkSync(inside));
	} finally {
		mount.close();
	}
}

function create(folder: string): string {
	try {
		return mkdtempSync(join(folder, ".userns-doctor-"));
	} catch (cause) {
		const hint = "Name an existing directory in which the caller may create files.";
		throw new CommandError(
			`cannot create a directory in ${JSON.stringify(folder)}: ${reasonOf(cause)}`,
			hint,
		);
	}
}

/**
 * Creates, looks at, reads and removes a file through an ID-mapped mount of a new directory in `folder`, which another user may be able
 * to change. Returns why that failed: some file systems accept the map and then do not apply it.
 */
async function tryHere(folder: string): Promise<FoundCause | undefined> {
	const directory = create(folder);
	const name = basename(directory).slice(1);
	const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
	const fd = openSync(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	try {
		await tryFile(fd, name);
		return undefined;
	} catch (error) {
		if (!(error instanceof Failed || error instanceof UsernsError)) throw error;
		const message = error.message.replace(
			/^cannot mount descriptor \d+ with the mapping [^ ]+:/,
			`cannot mount a directory in ${folder} with a map:`,
		);
		const fix = error instanceof UsernsError ? error.hint.replace(/\.$/, "") : WRONG;
		const id = error instanceof UsernsError ? "file-system" : "map-not-applied";
		return { id, message, evidence: message, consequence: "a mount with a map cannot be used there", fix };
	} finally {
		rmSync(`/proc/self/fd/${fd}/${name}`, { force: true });
		closeSync(fd);
		rmdirSync(directory);
	}
}

/** The variable that makes `userns doctor` try the directory that it names, in its own process. */
const VARIABLE = "USERNS_DOCTOR_TRY";
const MOST_MS = 10_000;

/** What the child prints, as its last line. */
interface Tried {
	cause?: FoundCause;
	failure?: { message: string; hint: string };
}

/** In the child: prints the result, and returns true. Otherwise returns false. */
export async function isTrying(): Promise<boolean> {
	const folder = process.env[VARIABLE];
	if (folder === undefined) return false;
	const tried: Tried = await tryHere(folder).then(
		(cause) => (cause === undefined ? {} : { cause }),
		(error) => {
			if (error instanceof CommandError) return { failure: { message: error.message, hint: error.hint } };
			throw error;
		},
	);
	await printText(`\n${JSON.stringify(tried)}`);
	return true;
}

/** Tries the directory in a child, because a file system that does not answer blocks the thread that calls it. */
export async function tryDirectory(folder: string): Promise<FoundCause | undefined> {
	const args = [...process.execArgv, process.argv[1] as string, "doctor"];
	const env = { ...process.env, [VARIABLE]: resolve(folder) };
	const child = spawn(process.execPath, args, { env, stdio: ["ignore", "pipe", "inherit"] });
	let text = "";
	child.stdout.setEncoding("utf8").on("data", (data) => {
		text += data;
	});
	const timer = setTimeout(() => {
		child.kill("SIGKILL");
		// A process in an uninterruptible system call does not end.
		child.stdout.destroy();
		child.unref();
		child.emit("close");
	}, MOST_MS);
	await once(child, "close");
	clearTimeout(timer);
	// A module of NODE_OPTIONS may print before.
	const line = text.slice(text.lastIndexOf("\n") + 1);
	if (line === "") {
		const what = `no result within ${MOST_MS / 1000} seconds, or the process ended`;
		throw new CommandError(
			`cannot try ${JSON.stringify(folder)}: ${what}`,
			"Check the server or the process of this file system. A directory with the name .userns-doctor-… may be left there.",
		);
	}
	const { cause, failure } = JSON.parse(line) as Tried;
	if (failure !== undefined) throw new CommandError(failure.message, failure.hint);
	return cause;
}
