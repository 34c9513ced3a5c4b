import assert from "node:assert/strict";
import { explanations } from "../../src/index.ts";
import { runScript, type ScriptOptions, sh } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import {
	forEverybody,
	forRoot,
	matrix,
	type Operation,
	type Point,
	prelude,
	supervised,
} from "../support/operations.ts";
import { freshUser } from "../support/ordinary.ts";
import { ACTION, callName, ERRNOS, SCOPE } from "../support/supervise.ts";
import { test } from "../support/test.ts";

const LONG = process.env.USERNS_LONG === "1";
const needs = ["linux", "root", "mounts", "tool:cc", "tool:taskset", "tool:unshare"] as const;
const names = LONG ? Object.keys(ERRNOS) : ["ENOSYS", "EPERM", "EMFILE"];

/**
 * After a failure of these calls the requested operation cannot have succeeded, whatever the errno: a success would be
 * a lie.
 */
const NEVER_SURVIVED = new Set([
	...["setns", "setresuid", "setresgid", "close_range", "dup3", "execve", "execveat"],
	...["open_tree", "mount_setattr", "move_mount", "umount2"],
]);

/** Calls that older kernels and filters lack, for which docs/kernel-features.md has a fallback. */
const WAYS_AROUND = new Set(["clone3", "openat2", "open_tree_attr", "statmount", "listmount"]);

function describe({ scope, index, call, errno }: Point): string {
	const name = Object.keys(ERRNOS).find((each) => ERRNOS[each] === errno);
	return `${name} at call ${index} (${scope}: ${callName(call)})`;
}

function checkPoint({ again = [], essential = [], optional = [] }: Operation, point: Point): void {
	const where = describe(point);
	const { error, done, left, next, call, errno } = point;
	assert.deepEqual(left, [], `${where} leaves something behind`);
	assert.equal(next, undefined, `${where}: the next call fails too`);
	if (error === undefined) {
		assert.ok(done, `${where}: it says that it is done and is not`);
		// An interrupted call is repeated. EAGAIN is the usual answer to the first umount2(2) of a mount, with MNT_EXPIRE.
		const usual = errno === ERRNOS.EINTR || (errno === ERRNOS.EAGAIN && callName(call) === "umount2");
		const survives = usual || [...again, ...optional].includes(callName(call));
		assert.ok(survives || !NEVER_SURVIVED.has(callName(call)), `${where} was not noticed`);
		return;
	}
	assert.ok(error.isOurs, `${where}: ${error.text}`);
	assert.ok(Object.hasOwn(explanations, error.code), `${where}: ${error.code}`);
	assert.ok(error.step, `${where}: no step in ${error.text}`);
	const around = WAYS_AROUND.has(callName(call)) && !essential.includes(callName(call));
	const missed = errno === ERRNOS.ENOSYS && around;
	assert.ok(!missed, `${where}: a fallback exists, and yet: ${error.text}`);
}

/** Which calls were made: a supervisor that does nothing shows no calls. */
function checkAll(operation: Operation, points: Point[], numbers: readonly number[]): void {
	for (const point of points) checkPoint(operation, point);
	for (const scope of operation.scopes) {
		for (const errno of numbers) {
			const indexes = points.filter((each) => each.scope === scope && each.errno === errno);
			assert.ok(indexes.length > 0, `no call of ${scope} was made to fail with ${errno}`);
			assert.deepEqual(
				indexes.map(({ index }) => index),
				indexes.map((_, i) => i + 1),
			);
		}
	}
	const seen = new Set(points.map(({ call }) => callName(call)));
	for (const name of operation.makes) assert.ok(seen.has(name), `${operation.name} made no ${name}`);
}

function attack(
	operation: Operation,
	folder: string,
	names: readonly string[],
	options: ScriptOptions = {},
	map?: string,
): number {
	const numbers = names.map((name) => ERRNOS[name] as number);
	const script = prelude(operation, folder, map) + matrix(operation, numbers);
	const { status, stdout, stderr } = supervised(script, options);
	assert.equal(status, 0, stderr);
	const points = JSON.parse(stdout) as Point[];
	checkAll(operation, points, numbers);
	return points.length;
}

const chosen = (operations: readonly Operation[]) => operations.filter(({ long }) => LONG || !long);

for (const operation of chosen(forRoot)) {
	test(
		`${operation.name} reports a failure of each of its calls, as root`,
		{ needs: [...needs, ...(operation.needs ?? [])], timeout: 600_000 },
		(t) =>
			withTmpfs((folder) => {
				const [, , below = ""] = mkdirs(folder, "source", "target", "tree/below");
				sh("mount", "-t", "tmpfs", "userns-test", below);
				t.diagnostic(`${attack(operation, folder, names)} faults`);
			}),
	);
}

test("these scripts end if an object of this package is garbage-collected unclosed, and only then", {
	needs,
}, () => {
	const [operation] = forRoot as [Operation];
	const collect =
		"for (let i = 0; i < 20; i++) { globalThis.gc(); await new Promise((r) => setTimeout(r, 5)); }";
	const run = (more: string) =>
		runScript(`${prelude(operation, "/")}{ ${more} } ${collect}`, { nodeFlags: ["--expose-gc"] });
	const { status, stderr } = run("");
	assert.deepEqual([status, stderr], [0, ""]);
	const unclosed = run("(() => { userns.UserNamespace.createSync(MAP); })();");
	assert.equal(unclosed.status, 1);
	assert.match(unclosed.stderr, /USERNS_FORGOTTEN_DESCRIPTOR/);
});

/** The user's uid and gid are the same number. */
const own = '"0:" + process.getuid() + ":1"';
/**
 * The short form takes one errno for each, because root has tried the others and the two programs make a creation long.
 */
const ways: [how: string, map: string, names: readonly string[]][] = [
	["with the user's own IDs", own, LONG ? names : ["EPERM"]],
	["with newuidmap", '"0:200000:1000"', LONG ? names : ["EMFILE"]],
];

for (const [how, map, some] of ways) {
	for (const operation of chosen(forEverybody)) {
		if (!LONG && operation.name === "create") continue; // the same as createSync, on another thread
		test(`${operation.name} reports a failure of each of its calls, as an ordinary user ${how}`, {
			needs: [...needs, "ordinary"],
			timeout: 600_000,
		}, (t) => {
			t.diagnostic(`${attack(operation, "/", some, freshUser().options, map)} faults`);
		});
	}
}

const everything = `const whole2 = async () => { const ns = await userns.UserNamespace.create(MAP);
	const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
	const own = userns.UserNamespace.open(process.pid);
	try { return (await bare.mapping()).id === MAP && own.mappingSync().uidMappings.length > 0; }
	finally { ns.close(); bare.close(); own.close(); } };`;

test("files in /proc are read whole when each read(2) returns a few bytes", { needs }, () => {
	const [operation] = forRoot as [Operation];
	const { status, stdout, stderr } = supervised(
		`${prelude(operation, "/")}${everything}
		const answers = [];
		for (const piece of [1, 2, 7, 100]) {
			arm(${ACTION.partial}, ${SCOPE.own}, 1, piece);
			const right = await whole2();
			answers.push([right, "hit" in disarm()]);
		}
		console.log(JSON.stringify(answers));`,
	);
	assert.equal(status, 0, stderr);
	assert.deepEqual(JSON.parse(stdout), Array(4).fill([true, true]));
});

test("a map that the kernel takes only in part is an error, and no smaller map is used", {
	// The first write(2) must be that of a map, and not of a program of the package.
	needs: [...needs, "shared-page"],
}, () => {
	const [operation] = forRoot as [Operation];
	const { status, stdout, stderr } = supervised(
		`${prelude(operation, "/")}
		const answers = [];
		for (let index = 1; index < 10; index++) {
			const earlier = state();
			let error;
			arm(${ACTION.short}, ${SCOPE.own}, index, 1);
			try { userns.UserNamespace.createSync(MAP).close(); } catch (e) { error = e; }
			if (disarm().hit === undefined) break;
			answers.push([error?.code, error?.errnoCode, error?.step, await leftOver(earlier)]);
		}
		console.log(JSON.stringify(answers));`,
	);
	assert.equal(status, 0, stderr);
	const answers = JSON.parse(stdout) as [string, string, string, string[]][];
	assert.ok(answers.length >= 3, "uid_map, setgroups and gid_map");
	for (const [code, errnoCode, step, left] of answers) {
		assert.deepEqual([code, errnoCode, left], ["ERR_USERNS_CREATE", "EIO", []]);
		assert.match(step, /uid_map|gid_map|setgroups/);
	}
});

test(
	"every operation works without each call that has a fallback",
	{
		needs,
	},
	() =>
		withTmpfs((folder) => {
			mkdirs(folder, "source", "target", "tree/below");
			const [operation] = forRoot as [Operation];
			const { status, stdout, stderr } = supervised(
				`${prelude(operation, folder)}${everything}
			const made = {};
			for (const number of [435, 437, 457, 458, 467]) {
				arm(${ACTION.sticky}, ${SCOPE.own}, number, ${ERRNOS.ENOSYS});
				if (!await whole2()) throw new Error("not whole without " + number);
				const mount = await userns.mountIdmapped({ source: FOLDER + "/source", target: FOLDER + "/target", userns: NS });
				await mount.unmount();
				userns.pin(NS, FOLDER + "/pinned");
				userns.unmount(FOLDER + "/pinned");
				made[number] = "hit" in disarm();
			}
			console.log(JSON.stringify(made));`,
			);
			assert.equal(status, 0, stderr);
			const made = JSON.parse(stdout) as Record<string, boolean>;
			assert.ok(made[435] && made[437], "clone3 and openat2 were denied");
		}),
);
