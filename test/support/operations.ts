import { runScript, type ScriptOptions, type ScriptResult } from "./child.ts";
import { ACTION, SCOPE, supervise, WORDS } from "./supervise.ts";

const LONG = process.env.USERNS_LONG === "1";

/** What the package does that makes system calls, as text for a script. */
export interface Operation {
	name: string;
	/** Whose calls it makes. */
	scopes: readonly (keyof typeof SCOPE)[];
	/** Some of them. */
	makes: readonly string[];
	/** Those that are made again in another way when they fail, so that a success is none of luck. */
	again?: readonly string[];
	/** Those that there is no way around here, although there is elsewhere. */
	essential?: readonly string[];
	/** Those whose failure does not change the result: the operation then keeps more than it needs, for as long as it lasts. */
	spare?: readonly string[];
	/** Before it: its value is the first argument of the others. */
	before?: string;
	/** The operation itself. */
	run: string;
	/** After a success, with the value of `run`: true when it did what it says; takes away what was made. */
	check: string;
	/** After a failure: takes away what `before` made. */
	after?: string;
	/** Only with the whole matrix. */
	long?: true;
}

const MAP = '"0:100000:65536,70000:300000:5"';
const MOUNT = "{ source: FOLDER + '/source', target: FOLDER + '/target', userns: NS, readonly: true }";
/** Nothing that is done on the calling thread at once. */
const MOUNT_BELOW =
	"{ source: FOLDER + '/source', targetRoot: FOLDER, target: '/target', userns: NS, readonly: true }";
/** Whether it is there, and has what was asked for. */
const IS_MOUNTED = `const line = mountAt(FOLDER + "/target");
	await made.unmount();
	return /idmapped/.test(line) && /\\bro\\b/.test(line) && mountAt(FOLDER + "/target") === undefined;`;

/** A process in a mount namespace of its own. */
const INTO_BEFORE = `const { spawn } = await import("node:child_process");
	const child = spawn("unshare", ["--mount", "--propagation", "private", "sleep", "1000"], { stdio: "ignore" });
	const own = fs.readlinkSync("/proc/self/ns/mnt");
	while (fs.readlinkSync("/proc/" + child.pid + "/ns/mnt") === own || fs.readFileSync("/proc/" + child.pid + "/comm", "utf8") !== "sleep\\n") {
		await new Promise((r) => setTimeout(r, 1));
	}
	return child;`;

/** A child that attaches or unmounts closes what it does not need; should the kernel hold it, it would keep that open. */
const CHILD_SPARE = ["close_range"] as const;

/** A namespace that was made, told by the kernel and not by our own state. */
const IS_RIGHT = `const bare = userns.UserNamespace.open("/proc/self/fd/" + made.fd);
	try { return bare.mappingSync().id === MAP; } finally { bare.close(); made.close(); }`;

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
		makes: ["clone3", "execve", "setns"],
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

/** What an ordinary user can do too. */
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
		name: "mountIdmapped",
		scopes: ["own", "children"],
		makes: ["move_mount"],
		spare: CHILD_SPARE,
		again: ["open_tree", "mount_setattr", "move_mount"],
		run: `return userns.mountIdmapped(${MOUNT});`,
		check: IS_MOUNTED,
	},
	{
		name: "mountIdmapped, with a targetRoot",
		scopes: ["own", "children"],
		makes: ["move_mount"],
		spare: CHILD_SPARE,
		essential: ["openat2"],
		run: `return userns.mountIdmapped(${MOUNT_BELOW});`,
		check: IS_MOUNTED,
	},
	{
		name: "mountIdmapped, recursive",
		scopes: ["own", "children"],
		makes: ["move_mount"],
		spare: CHILD_SPARE,
		again: ["mount_setattr"], // a whole that is refused is tried mount by mount
		run: "return userns.mountIdmapped({ source: FOLDER + '/tree', target: FOLDER + '/target', mapping: MAP, recursive: true });",
		check: `const line = mountAt(FOLDER + "/target/below");
			await made.unmount();
			return /idmapped/.test(line) && mountAt(FOLDER + "/target") === undefined;`,
		long: true,
	},
	{
		name: "mountIdmapped, with replace",
		scopes: ["own", "children"],
		makes: ["move_mount", "umount2"],
		spare: CHILD_SPARE,
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
		essential: ["openat2"],
		spare: CHILD_SPARE,
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
	{
		name: "IdmappedMount.unmount",
		scopes: ["own", "children"],
		makes: ["umount2"],
		spare: CHILD_SPARE,
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
		spare: CHILD_SPARE,
		before: `(await userns.mountIdmapped(${MOUNT})).close();`,
		run: 'return userns.unmount(FOLDER + "/target").kind;',
		check: 'return made === "idmapped mount" && mountAt(FOLDER + "/target") === undefined;',
		after: 'if (mountAt(FOLDER + "/target")) userns.unmount(FOLDER + "/target");',
	},
	{
		name: "pin",
		scopes: ["own", "children"],
		makes: ["move_mount"],
		spare: CHILD_SPARE,
		run: 'userns.pin(NS, FOLDER + "/pinned");',
		check: `const again = userns.UserNamespace.open(FOLDER + "/pinned");
			try { return again.equals(NS); } finally { again.close(); userns.unmount(FOLDER + "/pinned"); }`,
		after: 'if (fs.existsSync(FOLDER + "/pinned")) throw new Error("a file is left");',
	},
	{
		name: "pinAsync",
		scopes: ["own", "children"],
		makes: ["move_mount"],
		spare: CHILD_SPARE,
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
		spare: CHILD_SPARE,
		before: 'userns.pin(NS, FOLDER + "/pinned");',
		run: 'userns.unmount(FOLDER + "/pinned");',
		check: 'return !fs.existsSync(FOLDER + "/pinned");',
		after: `if (mountAt(FOLDER + "/pinned")) userns.unmount(FOLDER + "/pinned");
			fs.rmSync(FOLDER + "/pinned", { force: true });`,
	},
];

/**
 * What every script of these has: the operation as functions, and what there is before and after, from /proc.
 *
 * NS is held on to where the operation has no use for it: collected in the middle, its warning is the first thing that
 * Node writes to its standard error, for which libuv opens /dev/null and keeps it. An object of ours that is collected
 * all the same was forgotten on a path of ours, and ends the script.
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
		// A thread that could not be given back its processors makes other calls from then on: those would be left out.
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
	/** The operation did what it says, in spite of the fault. */
	done: boolean;
	left: string[];
	/** What the same did without a fault afterwards: nothing, or what was wrong with it. */
	next: string | undefined;
}

/**
 * Makes every call of an operation fail with every one of the numbers, one at a time, until an index is behind its
 * last call: so the matrix is whatever the code does.
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
						// A creation process may be killed before it gets to that call.
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
	/** Programs that run the supervisor: it must see the numbers that the script sees. */
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
