import { runScript, type ScriptOptions, type ScriptResult } from "./child.ts";
import type { Need } from "./needs.ts";
import { ACTION, SCOPE, supervise, WORDS } from "./supervise.ts";

const LONG = process.env.USERNS_LONG === "1";

/** Operations of the package that make system calls, as text for a script. */
export interface Operation {
	name: string;
	/** What it needs, beside root and mounts. */
	needs?: readonly Need[];
	/** The scope of its calls. */
	scopes: readonly (keyof typeof SCOPE)[];
	/** Some of its calls. */
	makes: readonly string[];
	/** Calls that the package repeats in another way when they fail, so that a success is legitimate. */
	again?: readonly string[];
	/** Calls without a fallback in this operation, although they have one elsewhere. */
	essential?: readonly string[];
	/** Calls whose failure does not change the result: the operation then keeps more than it needs while it lasts. */
	optional?: readonly string[];
	/** Runs before the operation. Its value is the first argument of the others. */
	before?: string;
	/** Runs the operation. */
	run: string;
	/** Runs after a success, with the value of `run`. Returns true if the result is right, and undoes the operation. */
	check: string;
	/** Runs after a failure, and undoes `before`. */
	after?: string;
	/** Only in the whole matrix. */
	long?: true;
}

const MAP = '"0:100000:65536,70000:300000:5"';
const MOUNT = "{ source: FOLDER + '/source', target: FOLDER + '/target', userns: NS, readonly: true }";
/** Whether no part of it runs on the calling thread. */
const MOUNT_BELOW =
	"{ source: FOLDER + '/source', targetRoot: FOLDER, target: '/target', userns: NS, readonly: true }";
/** Whether the mount exists, with the requested attributes. */
const IS_MOUNTED = `const line = mountAt(FOLDER + "/target");
	await made.unmount();
	return /idmapped/.test(line) && /\\bro\\b/.test(line) && mountAt(FOLDER + "/target") === undefined;`;

/** A process in its own mount namespace. */
const INTO_BEFORE = `const { spawn } = await import("node:child_process");
	const child = spawn("unshare", ["--mount", "--propagation", "private", "sleep", "1000"], { stdio: "ignore" });
	const own = fs.readlinkSync("/proc/self/ns/mnt");
	while (fs.readlinkSync("/proc/" + child.pid + "/ns/mnt") === own || fs.readFileSync("/proc/" + child.pid + "/comm", "utf8") !== "sleep\\n") {
		await new Promise((r) => setTimeout(r, 1));
	}
	return child;`;

/**
 * A child that attaches or unmounts closes the descriptors that it does not need, because a blocked child would keep
 * them open.
 */
const CHILD_OPTIONAL = ["close_range"] as const;

/** Whether a namespace exists, asked from the kernel and not from the package's own state. */
const IS_RIGHT = `const bare = userns.UserNamespace.open("/proc/self/fd/" + made.fd);
	try { return bare.mappingSync().id === MAP; } finally { bare.close(); made.close(); }`;

/**
 * Without the shared page, the namespace of an owner is made by a program, whose end sends SIGCHLD (execve(2) resets the signal). libuv
 * aborts if the write(2) in its handler fails, which it has since these scripts have started a child.
 */
const WITHOUT_SIGCHLD = ["shared-page"] as const;

const creation: Operation[] = [
	{
		name: "createSync",
		scopes: ["own", "children"],
		makes: ["clone3", "write", "pidfd_send_signal"],
		run: "return userns.UserNamespace.createSync(MAP);",
		check: IS_RIGHT,
	},
	{
		name: "create",
		scopes: ["own", "children"],
		makes: ["clone3", "write", "pidfd_send_signal"],
		run: "return userns.UserNamespace.create(MAP);",
		check: IS_RIGHT,
	},
];

const reading: Operation[] = [
	{
		name: "reading back",
		scopes: ["own", "children"],
		makes: ["clone3", "execveat", "setns"],
		optional: ["open_tree"], // an ordinary user may not make that copy either
		before: 'return userns.UserNamespace.open("/proc/self/fd/" + NS.fd);',
		run: "return (await given.mapping()).id;",
		check: "given.close(); return made === NS.mappingSync().id;",
		after: "given.close();",
	},
	{
		name: "spawn",
		scopes: ["programs"],
		makes: ["prctl", "setns", "execve"],
		run: `const child = NS.spawn("true", { stdio: "ignore" });
			return new Promise((resolve, reject) => {
				let error;
				child.on("error", (e) => { error = e; });
				child.on("close", (status) => error ? reject(error) : resolve(status));
			});`,
		check: "return made === 0;",
	},
];

/** Operations that an ordinary user can run too. */
export const forEverybody: readonly Operation[] = [...creation, ...reading];

export const forRoot: readonly Operation[] = [
	...forEverybody,
	{
		name: "Handles.get",
		scopes: ["own", "children"],
		makes: ["clone3"],
		before: "return new userns.Handles();",
		run: "return given.get(MAP);",
		check: `given.release(); ${IS_RIGHT}`,
		after: "given.release();",
	},
	{
		name: "a second Handles.get",
		scopes: ["own"],
		makes: ["fcntl"],
		before: "const handles = new userns.Handles(); handles.getSync(MAP).close(); return handles;",
		run: "return given.get(MAP);",
		check: `given.release(); ${IS_RIGHT}`,
		after: "given.release();",
	},
	{
		name: "open by pid",
		scopes: ["own"],
		makes: ["pidfd_open"],
		run: "return userns.UserNamespace.open(process.pid);",
		check: "try { return made.mappingSync().uidMappings.length > 0; } finally { made.close(); }",
	},
	{
		name: "open by path",
		scopes: ["own"],
		makes: ["openat"],
		run: 'return userns.UserNamespace.open("/proc/self/ns/user");',
		check: 'try { return made.inode === fs.statSync("/proc/self/ns/user").ino; } finally { made.close(); }',
	},
	{
		name: "open by ID",
		needs: ["linux:6.18"],
		scopes: ["own"],
		makes: ["open_by_handle_at"],
		run: "return userns.UserNamespace.open(NS.handle);",
		check: "try { return made.equals(NS); } finally { made.close(); }",
	},
	{
		name: "mountIdmapped",
		scopes: ["own", "children"],
		makes: ["move_mount"],
		optional: CHILD_OPTIONAL,
		again: ["open_tree", "mount_setattr", "move_mount"],
		run: `return userns.mountIdmapped(${MOUNT});`,
		check: IS_MOUNTED,
	},
	{
		name: "mountIdmapped, with a targetRoot",
		scopes: ["own", "children"],
		makes: ["move_mount"],
		optional: CHILD_OPTIONAL,
		again: ["mount_setattr"],
		essential: ["openat2"],
		run: `return userns.mountIdmapped(${MOUNT_BELOW});`,
		check: IS_MOUNTED,
	},
	{
		name: "mountIdmapped, recursive",
		scopes: ["own", "children"],
		makes: ["move_mount"],
		optional: CHILD_OPTIONAL,
		again: ["mount_setattr"], // if the kernel refuses the whole tree, the package tries mount by mount
		run: "return userns.mountIdmapped({ source: FOLDER + '/tree', target: FOLDER + '/target', mapping: MAP, recursive: true });",
		check: `const line = mountAt(FOLDER + "/target/below");
			await made.unmount();
			return /idmapped/.test(line) && mountAt(FOLDER + "/target") === undefined;`,
		long: true,
	},
	{
		name: "mountIdmapped, with replace",
		needs: ["linux:6.5"],
		scopes: ["own", "children"],
		makes: ["move_mount", "umount2"],
		optional: CHILD_OPTIONAL,
		before: `(await userns.mountIdmapped(${MOUNT.replace("readonly: true", "nodev: true")})).close();`,
		run: `return userns.mountIdmapped(${MOUNT.replace("readonly: true", "readonly: true, replace: true")});`,
		check: IS_MOUNTED,
		after: `if (mountAt(FOLDER + "/target") === undefined) throw new Error("bare");
			while (mountAt(FOLDER + "/target")) spawnSync("umount", [FOLDER + "/target"]);`,
	},
	{
		name: "mountIdmapped, into another mount namespace",
		scopes: ["own", "children"],
		makes: ["setns", "move_mount"],
		again: ["mount_setattr"],
		essential: ["openat2"],
		optional: CHILD_OPTIONAL,
		before: INTO_BEFORE,
		run: `return userns.mountIdmapped(${MOUNT.replace(" }", ", into: given.pid }")});`,
		check: `const line = lineIn(given);
			await made.unmount();
			const after = lineIn(given);
			await endOf(given);
			return /idmapped/.test(line) && /\\bro\\b/.test(line) && after === undefined;`,
		after: `const line = lineIn(given);
			await endOf(given);
			if (line !== undefined) throw new Error("attached: " + line);`,
	},
	...[
		["from another mount namespace", "given.pid"],
		["from a mount namespace at a path", '"/proc/" + given.pid + "/ns/mnt"'],
	].map(
		([name, from]): Operation => ({
			name: `mountIdmapped, ${name}`,
			needs: WITHOUT_SIGCHLD,
			scopes: ["own", "children"],
			makes: ["setns", "open_tree", "move_mount"],
			again: ["mount_setattr"],
			essential: ["openat2"],
			optional: CHILD_OPTIONAL,
			before: INTO_BEFORE,
			run: `return userns.mountIdmapped(${MOUNT.replace("userns: NS", `from: ${from}, owner: { uid: 100007, gid: 100008 }`)});`,
			check: `const { uid, gid } = fs.statSync(FOLDER + "/target");
			await endOf(given);
			const seen = uid === 100007 && gid === 100008;
			return await (async () => { ${IS_MOUNTED} })() && seen;`,
			after: `await endOf(given);
			if (mountAt(FOLDER + "/target") !== undefined) throw new Error("attached");`,
		}),
	),
	{
		name: "IdmappedMount.unmount",
		scopes: ["own", "children"],
		makes: ["umount2"],
		optional: CHILD_OPTIONAL,
		again: ["umount2"],
		before: `return userns.mountIdmapped(${MOUNT});`,
		run: "await given.unmount();",
		check: 'return mountAt(FOLDER + "/target") === undefined;',
		after: 'await given.unmount(); if (mountAt(FOLDER + "/target")) throw new Error("still there");',
	},
	{
		name: "unmount by path",
		scopes: ["own", "children"],
		makes: ["umount2"],
		optional: CHILD_OPTIONAL,
		before: `(await userns.mountIdmapped(${MOUNT})).close();`,
		run: 'return userns.unmount(FOLDER + "/target").kind;',
		check: 'return made === "idmapped mount" && mountAt(FOLDER + "/target") === undefined;',
		after: 'if (mountAt(FOLDER + "/target")) userns.unmount(FOLDER + "/target");',
	},
	{
		name: "pin",
		scopes: ["own", "children"],
		makes: ["move_mount"],
		optional: CHILD_OPTIONAL,
		again: ["mount_setattr"], // for the propagation, mount(2) serves too
		run: 'userns.pin(NS, FOLDER + "/pinned");',
		check: `const again = userns.UserNamespace.open(FOLDER + "/pinned");
			try { return again.equals(NS); } finally { again.close(); userns.unmount(FOLDER + "/pinned"); }`,
		after: 'if (fs.existsSync(FOLDER + "/pinned")) throw new Error("a file is left");',
	},
	{
		name: "pinAsync",
		scopes: ["own", "children"],
		makes: ["move_mount"],
		optional: CHILD_OPTIONAL,
		again: ["mount_setattr"], // for the propagation, mount(2) serves too
		run: 'await userns.pinAsync(NS, FOLDER + "/pinned");',
		check: `const again = userns.UserNamespace.open(FOLDER + "/pinned");
			try { return again.equals(NS); } finally { again.close(); userns.unmount(FOLDER + "/pinned"); }`,
		after: 'if (fs.existsSync(FOLDER + "/pinned")) throw new Error("a file is left");',
		long: true,
	},
	{
		name: "unmount of a pin",
		scopes: ["own", "children"],
		makes: ["umount2"],
		optional: CHILD_OPTIONAL,
		before: 'userns.pin(NS, FOLDER + "/pinned");',
		run: 'userns.unmount(FOLDER + "/pinned");',
		check: 'return !fs.existsSync(FOLDER + "/pinned");',
		after: `if (mountAt(FOLDER + "/pinned")) userns.unmount(FOLDER + "/pinned");
			fs.rmSync(FOLDER + "/pinned", { force: true });`,
	},
];

/**
 * The common part of every script: the operation as functions, and snapshots of /proc before and after it.
 *
 * The script holds NS even if the operation does not use it: if it were collected during the run, its warning would be
 * the first text that Node writes to standard error, for which libuv opens /dev/null and keeps it open. Any other
 * collected object shows a path of the package without a close(), and ends the script.
 */
export function prelude(operation: Operation, folder: string, map: string = MAP): string {
	const { before = "", run, check, after = "" } = operation;
	return `import { spawnSync } from "node:child_process";
		import fs from "node:fs";
		${WORDS}
		const FOLDER = ${JSON.stringify(folder)};
		const MAP = ${map};
		process.on("warning", (warning) => { if (warning.code === "USERNS_FORGOTTEN_DESCRIPTOR") throw warning; });
		const NS = globalThis.held = userns.UserNamespace.createSync(MAP);
		const mountAt = (path) => fs.readFileSync("/proc/self/mountinfo", "utf8").split("\\n").findLast((line) => line.split(" ")[4] === path);
		const lineIn = ({ pid }) => fs.readFileSync("/proc/" + pid + "/mountinfo", "utf8").split("\\n").findLast((line) => line.split(" ")[4] === FOLDER + "/target");
		const endOf = (child) => new Promise((r) => { child.on("exit", r); child.kill("SIGKILL"); });
		const prepare = async () => { ${before} };
		const run = async (given) => { ${run} };
		const check = async (given, made) => { ${check} };
		const after = async (given) => { ${after} };
		const links = () => fs.readdirSync("/proc/self/fd").map((fd) => { try { return fd + " " + fs.readlinkSync("/proc/self/fd/" + fd); } catch { return ""; } }).filter(Boolean);
		const mounts = () => fs.readFileSync("/proc/self/mountinfo", "utf8").trim().split("\\n");
		const state = () => [...links(), ...readChildren().map((c) => "child " + c), ...mounts()];
		const leftOver = async (earlier) => {
			let found = [];
			for (let i = 0; i < 50; i++) {
				found = state().filter((each) => !earlier.includes(each));
				if (found.length === 0) break;
				await new Promise((r) => setTimeout(r, 5));
			}
			return found;
		};
		const masks = () => fs.readdirSync("/proc/self/task").map((t) => { try { return /^Cpus_allowed:\\s*(\\S+)$/m.exec(fs.readFileSync("/proc/self/task/" + t + "/status", "utf8"))[1]; } catch { return MASK; } });
		const [MASK] = masks();
		// A thread whose CPU binding could not be undone makes other calls afterwards, which the matrix would leave
		// out.
		const unbind = () => { if (masks().some((mask) => mask !== MASK)) spawnSync("taskset", ["-a", "-p", MASK, String(process.pid)]); };
		const whole = async () => { const given = await prepare(); return check(given, await run(given)); };
		await whole(); await whole();\n`;
}

export interface Point {
	scope: keyof typeof SCOPE;
	errno: number;
	index: number;
	/** The number of the call that failed. */
	call: number;
	error: { isOurs: boolean; code: string; step?: string; errnoCode?: string; text: string } | undefined;
	/** Whether the operation succeeded in spite of the fault. */
	done: boolean;
	left: string[];
	/** What was wrong when the operation ran again without a fault; empty if nothing. */
	next: string | undefined;
}

/**
 * Makes every call of an operation fail with each of the errnos, one at a time, until the index is past its last call.
 * The matrix therefore covers the code as it is.
 */
export function matrix(operation: Operation, errnos: readonly number[]): string {
	return `const points = [];
		for (const [scope, number] of ${JSON.stringify(operation.scopes.map((name) => [name, SCOPE[name]]))})
			for (const errno of ${JSON.stringify(errnos)})
				for (let index = 1, tries = 0; index < 1000; index++) {
					const earlier = state();
					const given = await prepare();
					let error, made, done = false;
					arm(${ACTION.errno}, number, index, errno);
					try { made = await run(given); } catch (e) { error = e; }
					const { hit } = disarm();
					if (error === undefined) done = await check(given, made);
					else await after(given);
					if (hit === undefined) {
						if (!done) throw new Error("it fails without a fault: " + (error?.stack ?? "not done"));
						// A creation process may be killed before it makes that call.
						if (scope === "own" || ++tries > (index > 1 ? 20 : 200)) break;
						index--;
						continue;
					}
					tries = 0;
					unbind();
					const left = await leftOver(earlier);
					let next;
					try { if (!await whole()) next = "not done"; } catch (e) { next = String(e); }
					points.push({ scope, errno, index, call: hit, done, left, next, error: error &&
						{ isOurs: error instanceof userns.UsernsError, code: error.code, step: error.step, errnoCode: error.errnoCode, text: String(error) } });
				}
		console.log(JSON.stringify(points));`;
}

export interface SupervisedOptions extends ScriptOptions {
	/** Programs that run the supervisor, which must see the same pids as the script. */
	outer?: readonly string[];
}

/** Runs a script under the supervisor. */
export function supervised(body: string, options: SupervisedOptions = {}): ScriptResult {
	const { outer = [], prefix = [], ...rest } = options;
	return runScript(body, {
		timeout: LONG ? 600_000 : 120_000,
		...rest,
		prefix: [...outer, supervise(), ...prefix],
	});
}
