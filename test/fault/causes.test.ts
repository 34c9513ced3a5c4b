import assert from "node:assert/strict";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { UserNamespace } from "../../src/index.ts";
import { DRY_CALLS } from "../../src/native/addon.ts";
import { ask, packageForAll, root, sh } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { olderThan } from "../support/needs.ts";
import { askAs, freshUser } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

/*
 * The causes of src/inspect/causes.ts on this kernel: each test makes one of them true, and the hint must name it and no other. The
 * texts are tested in test/unit/causes.test.ts.
 */

const needs = ["linux", "root", "mounts", "tool:unshare", "tool:setpriv"] as const;

interface Failure {
	code: string;
	errnoCode: string;
	syscall: string;
	step: string;
	hint: string;
}

const CREATE = `const failure = await userns.UserNamespace.create("0:" + process.geteuid() + ":1").catch((e) => e);
	console.log(JSON.stringify(failure));`;
const NO_CREATE = ["ERR_USERNS_CREATE", "EPERM", "starting the process"];

function facts({ code, errnoCode, step }: Failure): string[] {
	return [code, errnoCode, step];
}

const private_ = ["unshare", "--mount", "--propagation", "private", "sh", "-c"];
/** A root directory in a mount, with the directories of the machine that a program needs. */
const DIRECTORY =
	'mount -t tmpfs jail /mnt && cd /mnt && mkdir jail && for d in proc tmp usr lib lib64 bin etc root work home opt; do if [ -d "/$d" ]; then mkdir jail/$d && mount --rbind /$d jail/$d; fi; done; cd / && ';
const MOUNT = "mount -t tmpfs jail /mnt && mkdir /mnt/jail && mount --rbind / /mnt/jail && ";
const USER = "setpriv --reuid 54321 --regid 54321 --clear-groups";

for (const [what, prepare, evidence] of [
	["a directory", DIRECTORY, /is a directory within a mount/],
	["a mount", MOUNT, /is the mount that process \d+ has at \/mnt\/jail/],
] as const) {
	for (const who of ["root", "an ordinary user"] as const) {
		test(`after chroot(2) into ${what}, ${who} is told that`, { needs }, () => {
			const user = who === "root" ? "" : USER;
			// The shell stays outside, as the parent of the program.
			const script = `${prepare} chroot /mnt/jail ${user} "$@"; exit $?`;
			const failure = ask<Failure>(CREATE, { prefix: [...private_, script, "sh"] });
			assert.deepEqual(facts(failure), NO_CREATE);
			assert.match(failure.hint, /^Start the program outside the chroot/);
			assert.match(failure.hint, evidence);
			assert.doesNotMatch(failure.hint, /seccomp|security modules|mapped/);
		});
	}
}

test("a process whose uid its user namespace does not map is told that", {
	needs: [...needs, "tool:nsenter"],
}, async () => {
	const outer = await UserNamespace.create("0:100000:1000", { setgroups: "allow" });
	try {
		const failure = ask<Failure>(
			`console.log(JSON.stringify(await userns.UserNamespace.create("0:1:1").catch((e) => e)));`,
			{
				prefix: ["nsenter", "--user=/proc/self/fd/3", "--preserve-credentials"],
				stdio: ["ignore", "pipe", "pipe", outer.fd],
			},
		);
		assert.deepEqual(facts(failure), NO_CREATE);
		assert.match(failure.hint, /the effective uid 65534 and gid 65534 of this process are not mapped/);
	} finally {
		outer.close();
	}
});

/** Runs a script under a filter of test/support/programs/deny.c, such as "428=1" for EPERM of open_tree(2). */
function filtered(folder: string, rules: string, script: string): Failure[] {
	const deny = join(folder, "deny");
	sh("cc", "-O2", "-o", deny, join(root, "test/support/programs/deny.c"));
	return ask<Failure[]>(
		`const failures = []; const fails = async (call) => { try { await call(); failures.push("none"); } catch (e) { failures.push(e); } };
		const ns = await userns.UserNamespace.create("0:100000:10");
		${script}
		console.log(JSON.stringify(failures));`,
		{ prefix: [deny, rules, "unshare", "--mount", "--propagation", "private"] },
	);
}

/** The numbers of the calls on this processor; from 424 on they are the same everywhere. */
const NUMBERS: Record<string, Record<string, number>> = {
	x64: { memfd_create: 319, execveat: 322, setns: 308 },
	arm64: { memfd_create: 279, execveat: 281, setns: 268 },
};
const numbers: Record<string, number> = { open_tree: 428, mount_setattr: 442, ...NUMBERS[process.arch] };

for (const [call, script, step] of [
	[
		"open_tree",
		'await fails(() => userns.mountIdmapped({ source: "/tmp", userns: ns }));',
		"copying the source's mount",
	],
	[
		"mount_setattr",
		'await fails(() => userns.mountIdmapped({ source: "/tmp", userns: ns }));',
		"setting the map and the attributes",
	],
	[
		"memfd_create",
		'await fails(() => ns.exec("true")); await fails(() => ns.spawn("true"));',
		"preparing a program of this package",
	],
	["execveat", 'await fails(() => ns.exec("true"));', "executing userns-enter"],
] as const) {
	test(
		`a seccomp filter that refuses ${call} is found, also if it answers with ENOSYS`,
		{
			// Without the page, the creation itself executes a program of the package.
			needs: [
				...needs,
				"tool:cc",
				...(call === "memfd_create" || call === "execveat" ? (["shared-page"] as const) : []),
			],
		},
		() =>
			withTmpfs((folder) => {
				for (const [errno, name] of [
					[1, "EPERM"],
					[38, "ENOSYS"],
				] as const) {
					const failures = filtered(folder, `${numbers[call]}=${errno}`, script);
					assert.ok(failures.length > 0);
					for (const failure of failures) {
						assert.deepEqual([failure.errnoCode, failure.step], [name, step]);
						assert.match(
							failure.hint,
							new RegExp(`^Allow ${call}\\(2\\) in the seccomp filter of this process`),
						);
					}
				}
			}),
	);
}

test(
	"a seccomp filter that refuses unshare(2) is found if the creation needs it, because the caller has a capability",
	{
		needs: [...needs, "tool:cc"],
	},
	() =>
		withTmpfs((folder) => {
			const deny = join(folder, "deny");
			sh("cc", "-O2", "-o", deny, join(root, "test/support/programs/deny.c"));
			chmodSync(folder, 0o755);
			const unshare = process.arch === "x64" ? 272 : 97;
			const withCapability = [...USER.split(" "), "--inh-caps=+setuid", "--ambient-caps=+setuid"];
			const failure = ask<Failure>(CREATE, { prefix: [...withCapability, deny, `${unshare}=1`] });
			assert.deepEqual(facts(failure), NO_CREATE);
			assert.equal(failure.syscall, "unshare");
			assert.match(failure.hint, /^Allow unshare\(2\) in the seccomp filter of this process/);
			assert.doesNotMatch(failure.hint, /chroot|security modules/);
		}),
);

test(
	"the dry calls find exactly the calls that a filter refuses, as root and as an ordinary user",
	{
		needs: [...needs, "tool:cc"],
	},
	() =>
		withTmpfs((folder) => {
			const deny = join(folder, "deny");
			sh("cc", "-O2", "-o", deny, join(root, "test/support/programs/deny.c"));
			const addon = join(packageForAll(), `prebuilds/userns.linux-${process.arch}.node`);
			const answers = (prefix: string[]) =>
				ask<number[]>(
					`import { createRequire } from "node:module";
				const { dryCall } = createRequire("/")(${JSON.stringify(addon)});
				console.log(JSON.stringify(${JSON.stringify(DRY_CALLS)}.map((_, index) => dryCall(index, true))));`,
					{ prefix },
				);
			const absent = olderThan("6.15") === undefined ? [] : ["open_tree_attr"];
			const expected = (...refused: string[]) =>
				DRY_CALLS.map((each) => (refused.includes(each) || absent.includes(each) ? 1 : 0));
			for (const user of [[], USER.split(" ")]) {
				// These two need power over the mount namespace, without which the kernel answers before it looks at the arguments.
				const powerless = user.length > 0 ? ["move_mount", "mount"] : [];
				assert.deepEqual(answers([...user]), expected(...powerless));
				for (const call of Object.keys(numbers)) {
					if (call === "execveat" || call === "setns") continue; // tested below: setpriv(1) needs neither
					const rules = `${numbers[call]}=1`;
					assert.deepEqual(answers([...user, deny, rules]), expected(call, ...powerless), call);
				}
			}
			// What a child does before and after the call can be refused, or end it, too.
			const x64 = process.arch === "x64";
			const [prctl, waitid, setitimer] = x64 ? [157, 247, 38] : [167, 95, 103];
			const setns = `${numbers.setns}=1`;
			assert.deepEqual(answers([deny, `${prctl}=1,${waitid}=1,${setns}`]), expected("setns"));
			assert.deepEqual(answers([deny, `${setitimer}=4096,${setns}`]), expected("setns"));
			assert.deepEqual(answers([deny, `${numbers.setns}=4096`]), expected("setns"));
			const unknown = answers([deny, `${waitid}=1,${prctl}=4096,${setns}`]);
			assert.ok(
				unknown.every((answer) => answer < 0),
				"a child that cannot be prepared is no answer",
			);
			const both = `${numbers.execveat}=1,${numbers.setns}=1`;
			assert.deepEqual(answers([deny, both]), expected("execveat", "setns"));
		}),
);

test("the dry calls change no mount, whatever / is", { needs: [...needs, "tool:unshare"] }, () => {
	const addon = join(packageForAll(), `prebuilds/userns.linux-${process.arch}.node`);
	const script = `import { createRequire } from "node:module";
		import { readFileSync } from "node:fs";
		const { dryCall } = createRequire("/")(${JSON.stringify(addon)});
		const tables = () => ["self", "1"].map((pid) => readFileSync("/proc/" + pid + "/mountinfo", "utf8"));
		const before = tables();
		const answers = [true, false].map((isApart) => ${JSON.stringify(DRY_CALLS)}.map((_, index) => dryCall(index, isApart)));
		const after = tables();
		console.log(JSON.stringify({ before, after, answers }));`;
	// A copy of / below it, as the root directory after chroot(2) and after pivot_root(2).
	const below = 'mount --rbind / /mnt && exec "$@"';
	const inside = 'mount --rbind / /mnt && exec chroot /mnt "$@"';
	const pivoted = 'mount --rbind / /mnt && cd /mnt && pivot_root . mnt && exec "$@"';
	for (const propagation of ["private", "shared", "slave"]) {
		for (const way of propagation === "shared" ? [below, inside] : [below, inside, pivoted]) {
			const prefix = ["unshare", "--mount", "--propagation", propagation, "sh", "-c", way, "sh"];
			const { before, after, answers } = ask<{ before: string[]; after: string[]; answers: number[][] }>(
				script,
				{ prefix },
			);
			const what = `${propagation}: ${way}`;
			assert.deepEqual(after, before, what);
			assert.deepEqual(answers[0], answers[1], what);
			assert.equal(answers[0]?.at(-1), 0, what);
		}
	}
});

test(
	"without CAP_SYS_ADMIN in the bounding set, root is told where it comes from by each operation that mounts",
	{
		needs: [...needs, "linux:6.5"],
	},
	() =>
		withTmpfs((folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			const failures = ask<Failure[]>(
				`const failures = []; const fails = async (call) => { try { await call(); failures.push("none"); } catch (e) { failures.push(e); } };
			const ns = await userns.UserNamespace.create("0:100000:10");
			await fails(() => userns.mountIdmapped({ source: ${JSON.stringify(source)}, target: ${JSON.stringify(target)}, userns: ns }));
			await fails(() => userns.mountIdmapped({ source: ${JSON.stringify(source)}, mapping: "0:100000:10" }));
			await fails(() => userns.pin(ns, ${JSON.stringify(join(folder, "ns"))}));
			await fails(() => userns.supports(${JSON.stringify(source)}));
			await fails(() => userns.overlay({ lower: [${JSON.stringify(source)}, ${JSON.stringify(target)}], mapping: "0:100000:10" }));
			console.log(JSON.stringify(failures));`,
				{ prefix: ["setpriv", "--bounding-set=-sys_admin"] },
			);
			assert.equal(failures.length, 5);
			for (const { errnoCode, hint } of failures) {
				assert.equal(errnoCode, "EPERM", hint);
				assert.match(
					hint,
					/^Start the container with --cap-add SYS_ADMIN .*CapabilityBoundingSet=: this process has uid 0/,
				);
			}
		}),
);

for (const [missing, named] of [
	["-setuid", "CAP_SETUID"],
	["-setgid", "CAP_SETGID"],
	["-setuid,-setgid", "CAP_SETUID and CAP_SETGID"],
] as const) {
	test(`root without ${named} is told that, and nothing about /etc/subuid, with newuidmap and without`, {
		needs: [...needs, "ordinary"],
	}, () => {
		for (const path of ["/mnt/bin", process.env.PATH ?? ""]) {
			const user = freshUser({
				asRoot: true,
				path,
				through: ["/usr/bin/setpriv", `--bounding-set=${missing}`],
			});
			const failure = askAs<Failure>(
				user,
				`console.log(JSON.stringify(await userns.UserNamespace.create("0:2100000000:65536").catch((e) => e)));`,
			);
			assert.deepEqual([failure.code, failure.errnoCode], ["ERR_USERNS_CREATE", "EPERM"], path);
			assert.match(failure.hint, new RegExp(`lacks ${named}, even in its bounding set`));
			assert.doesNotMatch(failure.hint, /subuid|newuidmap/);
		}
	});
}

test("RLIMIT_FSIZE below the size of the sealed memory file is named by exec, spawn and mapping()", {
	needs: ["linux", "root", "tool:prlimit"],
}, () => {
	const { failures, later } = ask<{ failures: Failure[]; later: string }>(
		`import { spawnSync } from "node:child_process";
		const failures = []; const fails = async (call) => { try { await call(); failures.push("none"); } catch (e) { failures.push(e); } };
		const ns = await userns.UserNamespace.create("0:100000:10");
		const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
		const limit = (most) => spawnSync("prlimit", ["--pid", String(process.pid), "--fsize=" + most + ":unlimited"]);
		limit(1024);
		await fails(() => ns.exec("true"));
		await fails(() => ns.spawn("true"));
		await fails(() => bare.mapping());
		limit("unlimited");
		console.log(JSON.stringify({ failures, later: (await bare.mapping()).id }));`,
	);
	assert.equal(failures.length, 3);
	for (const failure of failures) {
		assert.deepEqual([failure.errnoCode, failure.step], ["EFBIG", "preparing a program of this package"]);
		assert.match(failure.hint, /^Raise RLIMIT_FSIZE .*above 16 KiB/);
	}
	assert.equal(later, "0:100000:10");
});
