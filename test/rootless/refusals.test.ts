import assert from "node:assert/strict";
import { join } from "node:path";
import { ask, root } from "../support/child.ts";
import { askAs, freshUser, type UserSetup } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "ordinary"] as const;

type Failure = {
	code: string;
	message: string;
	hint: string;
	errnoCode?: string;
	mapping?: string;
	step?: string;
};

/** The error of both ways to create, which must be the same, and what they leave in the process: nothing. */
function refused(setup: UserSetup, mapping: string, options = "{}"): Failure {
	const { errors, left } = askAs<{ errors: Failure[]; left: string }>(
		freshUser(setup),
		`import fs from "node:fs";
		const open = () => fs.readdirSync("/proc/self/fd").length;
		const errors = [];
		const attempt = async () => {
			errors.push(await userns.UserNamespace.create(${mapping}, ${options}).catch((e) => e));
			try { userns.UserNamespace.createSync(${mapping}, ${options}); } catch (e) { errors.push(e); }
		};
		await attempt();
		const before = open();
		await attempt();
		const children = readChildren().join(" ");
		console.log(JSON.stringify({ errors, left: children + (open() - before || "") }));`,
	);
	assert.equal(left, "", "processes or descriptors are left");
	assert.equal(errors.length, 4);
	for (const error of errors) assert.deepEqual(error, errors[0]);
	return errors[0] as Failure;
}

test("the maps of a namespace that another user pinned: the hint names root, and the owner if that is another user", {
	needs: [...needs, "tool:unshare", "tool:setpriv"],
}, () => {
	/** Commands of root: a namespace that `uid` owns, without a process in it, at /mnt/ns. */
	const pinned = (uid: number) => `touch /mnt/ns
mkfifo /mnt/ready
setpriv --reuid=${uid} --clear-groups unshare --user sh -c 'echo >&3; exec sleep 100' 3<> /mnt/ready &
read line < /mnt/ready
mount --bind /proc/$!/ns/user /mnt/ns
kill $!`;
	for (const [uid, hint] of [
		[0, "Run it as root: a process must join the namespace, which needs CAP_SYS_ADMIN in it."],
		[
			4242,
			"Run it as root, or as uid 4242, which owns the namespace: a process must join the namespace, which needs CAP_SYS_ADMIN in it.",
		],
	] as const) {
		const errors = askAs<Failure[]>(
			freshUser({ before: pinned(uid) }),
			`const ns = userns.UserNamespace.open("/mnt/ns");
			const errors = [await ns.mapping().catch((error) => error)];
			for (const call of [() => ns.mappingSync(), () => ns.spawn("true")])
				try { call(); } catch (error) { errors.push(error); }
			console.log(JSON.stringify(errors));`,
		);
		assert.equal(errors.length, 3);
		for (const error of errors) {
			assert.equal(error.code, "ERR_USERNS_READ_MAPPING");
			assert.equal(error.errnoCode, "EPERM");
			assert.equal(error.hint, hint);
		}
	}
});

const WHOLE = '"0:200000:65536"';
const NO_SUBIDS = { subuid: [], subgid: [] };

test("a mapping outside the user's ranges is an error that names the first such ID and the ranges", {
	needs,
}, () => {
	const setup = { subuid: ["userns-tester:200000:1000", "userns-tester:300000:5"] };
	const error = refused(setup, '"u:0:200000:1001,g:0:200000:1"');
	assert.equal(error.code, "ERR_USERNS_NOT_DELEGATED");
	assert.match(
		error.message,
		/: the uid 201000 is not among those of the user userns-tester; newuidmap exited/,
	);
	assert.match(error.hint, /subordinate uids 200000–200999, 300000–300004 \(\/etc\/subuid\)/);
	// The text of newuidmap itself is in the hint too.
	assert.match(error.message, /newuidmap exited with status 1: newuidmap: uid range/);
	assert.equal(error.mapping, "u:0:200000:1001,g:0:200000:1");

	const gids = refused({}, '"u:0:200000:1,g:0:5:1"');
	assert.equal(gids.code, "ERR_USERNS_NOT_DELEGATED");
	assert.match(gids.message, /the gid 5 is not among/);
	assert.match(gids.hint, /\/etc\/subgid/);
});

test("a user's mapping of host root is refused, with the ranges", { needs }, () => {
	const error = refused({}, '"0:0:1,1:200000:5"');
	assert.equal(error.code, "ERR_USERNS_NOT_DELEGATED");
	assert.match(error.message, /the uid 0 is not among/);
});

test("a missing newuidmap is an error that names the package to install", { needs }, () => {
	const error = refused({ path: "/mnt/bin" }, WHOLE);
	assert.equal(error.code, "ERR_USERNS_HELPER_MISSING");
	assert.match(error.message, /newuidmap is not in PATH/);
	assert.match(error.hint, /apt-get install uidmap/);
});

test("a missing newgidmap beside a newuidmap is an error that names newgidmap", { needs }, () => {
	const error = refused({ path: "/mnt/bin", before: "ln -s /usr/bin/newuidmap /mnt/bin/newuidmap" }, WHOLE);
	assert.equal(error.code, "ERR_USERNS_HELPER_MISSING");
	assert.match(error.message, /newgidmap is not in PATH/);
});

const COPIES = "cp /usr/bin/newuidmap /usr/bin/newgidmap /mnt/bin; chmod 755 /mnt/bin/*";

test("a newuidmap without set-user-ID bit or file capability is an error that names the file and the remedy", {
	needs,
}, () => {
	const error = refused({ path: "/mnt/bin", before: COPIES }, WHOLE);
	assert.equal(error.code, "ERR_USERNS_HELPER_FAILED");
	assert.match(error.message, /newuidmap exited with status 1: newuidmap: /);
	assert.match(error.hint, /\/mnt\/bin\/newuidmap is not set-user-ID root/);
	assert.match(error.hint, /"chmod u\+s \/mnt\/bin\/newuidmap"/);
	assert.match(error.hint, /setcap cap_setuid=ep/);
});

test("a newuidmap that is set-user-ID root behind one that is not is named, and the hint works", {
	needs,
}, () => {
	const error = refused({ path: "/mnt/bin:/usr/bin:/bin", before: COPIES }, WHOLE);
	assert.equal(error.code, "ERR_USERNS_HELPER_FAILED");
	assert.equal(
		error.hint,
		"Put /usr/bin before /mnt/bin in PATH: /mnt/bin/newuidmap is not set-user-ID root, but /usr/bin/newuidmap is, and newuidmap cannot write the map.",
	);
	const setup = { path: "/usr/bin:/mnt/bin:/bin", before: COPIES };
	assert.equal(
		askAs<boolean>(
			freshUser(setup),
			`console.log(JSON.stringify((await userns.UserNamespace.create(${WHOLE})).fd > 2));`,
		),
		true,
	);
});

test("the control: newuidmap works with file capabilities in place of the set-user-ID bit", {
	needs: [...needs, "tool:setcap"],
}, () => {
	const before = `${COPIES}; setcap cap_setuid=ep /mnt/bin/newuidmap; setcap cap_setgid=ep /mnt/bin/newgidmap`;
	const read = askAs<string>(
		freshUser({ path: "/mnt/bin:/usr/bin:/bin", before }),
		`const ns = await userns.UserNamespace.create(${WHOLE});
		console.log(JSON.stringify((await userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mapping()).id));`,
	);
	assert.equal(read, "0:200000:65536");
});

test("a newuidmap that may not be executed is an error that names the file", { needs }, () => {
	const error = refused({ path: "/mnt/bin", before: `${COPIES}; chmod 644 /mnt/bin/*` }, WHOLE);
	assert.equal(error.code, "ERR_USERNS_HELPER_FAILED");
	assert.equal(error.errnoCode, "EACCES");
	assert.match(error.hint, /\/mnt\/bin\/newuidmap/);
});

test("the hint names no_new_privs", { needs: [...needs, "tool:setpriv"] }, () => {
	const error = refused({ through: ["setpriv", "--no-new-privs"] }, WHOLE);
	assert.equal(error.code, "ERR_USERNS_HELPER_FAILED");
	assert.match(error.hint, /no_new_privs/);
});

test("no entry in subuid is an error that gives the line to add, and the file", { needs }, () => {
	// newuidmap itself says that it does not permit the range.
	const error = refused({ subuid: [] }, WHOLE);
	assert.equal(error.code, "ERR_USERNS_NOT_DELEGATED");
	assert.match(error.message, /the user userns-tester has no subordinate uids in \/etc\/subuid/);
	assert.match(error.hint, /"userns-tester:\d+:65536" to \/etc\/subuid/);
	const gid = refused({ subgid: [] }, WHOLE);
	assert.equal(gid.code, "ERR_USERNS_NOT_DELEGATED");
	assert.match(gid.message, /subordinate gids in \/etc\/subgid/);
});

test("a user without a line in both files is told both lines at once", { needs }, () => {
	const created = refused(NO_SUBIDS, WHOLE);
	const rootless = askAs<Failure>(
		freshUser(NO_SUBIDS),
		"try { userns.Mapping.rootless(); } catch (error) { console.log(JSON.stringify(error)); }",
	);
	assert.deepEqual([created.code, rootless.code], ["ERR_USERNS_NOT_DELEGATED", "ERR_USERNS_NO_SUBIDS"]);
	for (const { message, hint } of [created, rootless]) {
		assert.match(message, /no subordinate uids in \/etc\/subuid and no subordinate gids in \/etc\/subgid/);
		assert.match(
			hint,
			/"userns-tester:\d+:65536" to \/etc\/subuid and "userns-tester:\d+:65536" to \/etc\/subgid/,
		);
	}
});

test("Mapping.rootless without subordinate IDs is an error that names the file, and the user's own ID works", {
	needs,
}, () => {
	const answer = askAs<{ rootless: Failure; own: boolean }>(
		freshUser(NO_SUBIDS),
		`let rootless; try { userns.Mapping.rootless(); } catch (e) { rootless = e; }
		const own = await userns.UserNamespace.create("u:0:" + process.getuid() + ":1,g:0:" + process.getgid() + ":1");
		console.log(JSON.stringify({ rootless, own: own.fd > 2 }));`,
	);
	assert.equal(answer.rootless.code, "ERR_USERNS_NO_SUBIDS");
	assert.match(answer.rootless.hint, /\/etc\/subuid/);
	assert.ok(answer.own);
});

test("a subuid file that may not be read is an error that says so, and not that the user has no range", {
	needs,
}, () => {
	const answer = askAs<Failure>(
		freshUser({ before: "chmod 600 /etc/subuid" }),
		`try { userns.Mapping.rootless(); } catch (error) { console.log(JSON.stringify(error)); }`,
	);
	assert.equal(answer.code, "ERR_USERNS_NO_SUBIDS");
	assert.match(
		answer.message,
		/cannot find the subordinate uids of the user .*: \/etc\/subuid cannot be read/,
	);
	assert.match(answer.hint, /chmod 644 \/etc\/subuid/);
});

test("the hint says why newuidmap refuses a gid that the user database does not give to the user", {
	needs,
}, () => {
	const before = 'sed -i "s/^\\(userns-tester:x:$user\\):$user:/\\1:4:/" /etc/passwd';
	const error = refusedAnyWords({ before });
	assert.equal(error.code, "ERR_USERNS_HELPER_FAILED");
	assert.match(error.message, /owned by a different user/);
	assert.match(
		error.hint,
		/^Start this process with the gid 4, .*: this process has the gid \d+, but its user has the gid 4 in the user database.* another gid, for example after newgrp/,
	);
	assert.match(error.hint, /write "GRANT_AUX_GROUP_SUBIDS yes" to \/etc\/login\.defs/);
	// The hint, followed.
	const granted = `${before}; echo "GRANT_AUX_GROUP_SUBIDS yes" >> /etc/login.defs`;
	assert.equal(
		askAs<boolean>(
			freshUser({ before: granted }),
			`console.log(JSON.stringify((await userns.UserNamespace.create(${WHOLE})).fd > 2));`,
		),
		true,
	);
});

test("a range that newuidmap does not permit is ERR_USERNS_NOT_DELEGATED, whatever the files contain", {
	needs,
}, () => {
	const words = "newuidmap: uid range [0-65536) -> [200000-265536) not allowed";
	const error = refused({ path: PATH, before: fakeNewidmap(`echo "${words}" >&2; exit 1`, "exit 0") }, WHOLE);
	assert.equal(error.code, "ERR_USERNS_NOT_DELEGATED");
	assert.match(
		error.message,
		/newuidmap does not permit the uids 200000–265535; newuidmap exited with status 1/,
	);
	assert.match(error.hint, /\/etc\/subuid .* more than three fields/);
	const gid = "newgidmap: gid range [0-65536) -> [200000-265536) not allowed";
	const other = refused({ path: PATH, before: fakeNewidmap("exit 0", `echo "${gid}" >&2; exit 1`) }, WHOLE);
	assert.equal(other.code, "ERR_USERNS_NOT_DELEGATED");
	assert.match(other.message, /newgidmap does not permit the gids 200000–265535/);
});

test("the hint names the directory service that has the ranges, and no file", { needs }, () => {
	const service =
		'printf "%s\\n" "#!/bin/sh" "echo 0: x 200000 65536" > /mnt/bin/getsubids; chmod 755 /mnt/bin/getsubids; echo "subid: zzz" >> /etc/nsswitch.conf';
	const words = "newuidmap: uid range [0-65536) -> [200000-265536) not allowed";
	const newidmap = fakeNewidmap(`echo "${words}" >&2; exit 1`, "exit 0");
	const setup = { path: PATH, before: `${newidmap}; ${service}` };
	for (const [mapping, message] of [
		[WHOLE, /newuidmap does not permit the uids 200000–265535;/],
		['"0:5:1"', /the uid 5 is not among those of the user userns-tester;/],
	] as const) {
		const error = refused(setup, mapping);
		assert.equal(error.code, "ERR_USERNS_NOT_DELEGATED");
		assert.match(error.message, message);
		assert.match(error.hint, /the service "zzz"/);
		assert.doesNotMatch(error.hint, /\/etc\/sub/);
	}
});

/** What newuidmap(1) itself answers for the first subordinate uid: its status and words. */
function newuidmapItself(setup: UserSetup): [number, string] {
	return askAs(
		freshUser(setup),
		`import { spawnSync } from "node:child_process";
		const { status, stderr } = spawnSync("newuidmap", [String(process.pid), "0", "200000", "1"], { encoding: "utf8" });
		console.log(JSON.stringify([status, stderr]));`,
	);
}

test("the hint says that newuidmap does not follow a symbolic link, and it works when it is followed", {
	needs,
}, () => {
	const before = "mv /etc/subuid /etc/subuid.real; ln -s subuid.real /etc/subuid";
	// The control: newuidmap does not permit the range, and does not say "not allowed".
	assert.equal(newuidmapItself({ before })[0], 1);
	assert.doesNotMatch(newuidmapItself({ before })[1], /write to uid_map/);
	assert.match(newuidmapItself({})[1], /write to uid_map failed/);
	const rootless = askAs<Failure>(
		freshUser({ before }),
		"try { userns.Mapping.rootless(); } catch (error) { console.log(JSON.stringify(error)); }",
	);
	for (const error of [refused({ before }, WHOLE), rootless]) {
		assert.equal(error.code, "ERR_USERNS_NO_SUBIDS");
		assert.match(error.message, /\/etc\/subuid is a symbolic link/);
		assert.match(error.hint, /newuidmap and newgidmap do not follow it/);
		const command = /: (cp .*)\.$/.exec(error.hint)?.[1] ?? assert.fail(error.hint);
		assert.match(newuidmapItself({ before: `${before}; ${command}` })[1], /write to uid_map failed/);
	}
});

test("the hint names a missing file if newuidmap fails without a word, as it does for a directory service too", {
	needs,
}, () => {
	const before = "rm /etc/subuid";
	const [status, words] = newuidmapItself({ before });
	assert.equal(status, 1);
	if (words !== "") return; // a later version names the file itself
	const service =
		'printf "%s\\n" "#!/bin/sh" "echo 0: x 200000 65536" > /mnt/bin/getsubids; chmod 755 /mnt/bin/getsubids; echo "subid: x" >> /etc/nsswitch.conf';
	const error = refused({ path: PATH, before: `${before}; ${service}` }, WHOLE);
	assert.equal(error.code, "ERR_USERNS_HELPER_FAILED");
	assert.match(
		error.hint,
		/^As root, create the file: touch \/etc\/subuid: \/etc\/subuid does not exist, and /,
	);
});

test("the hint says when the user's own uid in the middle of an extent adds two lines, and makes them too many", {
	needs,
}, () => {
	const error = refused(
		{},
		`{ uidMappings: [...Array.from({ length: 338 }, (_, i) => ({ containerID: i, hostID: 1000 + 2 * i, size: 1 })),
			{ containerID: 5000, hostID: process.getuid() - 5, size: 11 }],
			gidMappings: [{ containerID: 0, hostID: 200000, size: 1 }] }`,
	);
	assert.equal(error.code, "ERR_USERNS_HELPER_FAILED");
	assert.equal(error.errnoCode, "E2BIG");
	assert.match(error.hint, /Use fewer extents.*own uid in a separate extent/);
});

test("newuidmap and newgidmap are killed together after 30 seconds, and nothing of them is left", {
	needs,
	timeout: 50_000,
}, (t) => {
	if (process.env.USERNS_LONG !== "1") return t.skip("it waits for 30 seconds: USERNS_LONG=1 runs it");
	const begin = performance.now();
	const error = refusedAnyWords({ path: PATH, before: fakeNewidmap("exec sleep 300") });
	assert.ok(performance.now() - begin < 45_000);
	assert.equal(error.code, "ERR_USERNS_HELPER_FAILED");
	assert.match(
		error.message,
		/newuidmap did not end within 30 seconds and was killed; newgidmap did not end/,
	);
	assert.match(error.hint, /directory service/);
});

test("the hint says that newuidmap needs a name for the uid", { needs }, () => {
	const error = refused({ name: null }, WHOLE);
	assert.equal(error.code, "ERR_USERNS_UNKNOWN_USER");
	assert.match(error.hint, /Add the user to \/etc\/passwd/);
});

test("max_user_namespaces = 0 is an error that names the limit's file and its value", {
	needs: [...needs, "tool:nsenter"],
}, () => {
	// The limit of a namespace around the script, so that it changes nothing else on the machine.
	const limited = [
		"unshare",
		"--user",
		"--map-root-user",
		"sh",
		"-c",
		'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"',
		"sh",
	];
	const error = refused({ ...NO_SUBIDS, through: limited }, '"0:0:1"');
	assert.equal(error.code, "ERR_USERNS_LIMIT");
	assert.equal(error.errnoCode, "ENOSPC");
	assert.match(
		error.hint,
		/sysctl user\.max_user_namespaces=15000": \/proc\/sys\/user\/max_user_namespaces is 0/,
	);
});

/** /proc/sys/kernel with one more file in it, as a kernel with that patch has it. */
function setting(name: string, value: string): string {
	return `mount -t tmpfs -o mode=0755 userns-test /proc/sys/kernel; echo ${value} > /proc/sys/kernel/${name}`;
}

/** The result of clone(2) with CLONE_NEWUSER on that kernel: EPERM. */
const DENY = `cc -O2 -o /mnt/bin/deny-newuser ${join(root, "test/support/programs/deny-newuser.c")}`;

test("unprivileged_userns_clone = 0 is an error that names the file, by its value", {
	needs: [...needs, "tool:cc"],
}, () => {
	const through = ["/mnt/bin/deny-newuser"];
	const error = refused(
		{ before: `${DENY}; ${setting("unprivileged_userns_clone", "0")}`, through },
		"userns.Mapping.rootless()",
	);
	assert.equal(error.code, "ERR_USERNS_RESTRICTED");
	assert.equal(error.errnoCode, "EPERM");
	assert.match(
		error.hint,
		/write 1 to \/proc\/sys\/kernel\/unprivileged_userns_clone: kernel\.unprivileged_userns_clone is 0/,
	);

	// The control: if the file has a 1, another cause refused the creation, and the hint is another.
	const other = refused(
		{ before: `${DENY}; ${setting("unprivileged_userns_clone", "1")}`, through },
		"userns.Mapping.rootless()",
	);
	assert.equal(other.code, "ERR_USERNS_CREATE");
	assert.match(other.hint, /seccomp/);
});

test("apparmor_restrict_unprivileged_userns = 1 is an error that names the file, by its value", {
	needs: [...needs, "tool:cc"],
}, () => {
	const restricted = setting("apparmor_restrict_unprivileged_userns", "1");
	const error = refused(
		{ before: `${DENY}; ${restricted}`, through: ["/mnt/bin/deny-newuser"] },
		"userns.Mapping.rootless()",
	);
	assert.equal(error.code, "ERR_USERNS_RESTRICTED");
	assert.match(
		error.hint,
		/\/etc\/apparmor\.d\/.*apparmor_restrict_unprivileged_userns: kernel\.apparmor_restrict_unprivileged_userns is 1/,
	);

	// If AppArmor permits clone(2) and drops the capabilities, newuidmap fails.
	const failed = refused({ path: "/mnt/bin:/usr/bin:/bin", before: `${COPIES}; ${restricted}` }, WHOLE);
	assert.equal(failed.code, "ERR_USERNS_RESTRICTED");
	assert.match(failed.message, /newuidmap exited with status 1/);
	assert.match(
		failed.hint,
		/apparmor_restrict_unprivileged_userns: kernel\.apparmor_restrict_unprivileged_userns is 1/,
	);
});

/** A newuidmap of the test, in sh. */
function fakeNewidmap(uid: string, gid = uid): string {
	const write = (name: string, body: string) =>
		`printf '%s\\n' '#!/bin/sh' '${body}' > /mnt/bin/${name}; chmod 755 /mnt/bin/${name}`;
	return `${write("newuidmap", uid)}; ${write("newgidmap", gid)}`;
}

const PATH = "/mnt/bin:/usr/bin:/bin";

test("a newuidmap that reports success and writes nothing is an error, and no smaller map is used", {
	needs,
}, () => {
	const error = refused({ path: PATH, before: fakeNewidmap("exit 0") }, WHOLE);
	assert.equal(error.code, "ERR_USERNS_MAPPING_DIFFERS");
	assert.match(error.message, /the mapping that was written is empty/);
});

test("a newuidmap that writes another map than requested is an error that names the difference", {
	needs,
}, () => {
	const before = fakeNewidmap(
		'exec /usr/bin/newuidmap "$1" 0 200000 1000',
		'exec /usr/bin/newgidmap "$1" 0 200000 65536',
	);
	const error = refused({ path: PATH, before }, WHOLE);
	assert.equal(error.code, "ERR_USERNS_MAPPING_DIFFERS");
	assert.match(error.message, /u:0:200000:1000/);
});

test("a newgidmap that denies setgroups although it was to be allowed is an error", { needs }, () => {
	// newgidmap itself denies it for the user's own gid alone (CVE-2018-7169).
	const error = refused({}, '"u:0:200000:5,g:0:" + process.getgid() + ":1"', '{ setgroups: "allow" }');
	assert.equal(error.code, "ERR_USERNS_MAPPING_DIFFERS");
	assert.match(error.message, /setgroups is "deny", not "allow"/);
});

test("long output of newuidmap with bytes that are not text is read whole and cut", { needs }, () => {
	const before = fakeNewidmap("head -c 300000 /dev/urandom >&2; echo end; exit 3", "exit 0");
	const { message, code } = refusedAnyWords({ path: PATH, before });
	assert.equal(code, "ERR_USERNS_HELPER_FAILED");
	assert.match(message, /newuidmap exited with status 3/);
	assert.ok(message.length < 20_000);
	assert.doesNotMatch(message, /\p{Cc}/u, "no escape sequences for a terminal");
});

/** As `refused`, for messages that differ each time. */
function refusedAnyWords(setup: UserSetup): Failure {
	return askAs<Failure>(
		freshUser(setup),
		`console.log(JSON.stringify(await userns.UserNamespace.create(${WHOLE}).catch((e) => e)));`,
	);
}

test("a newuidmap that a signal kills is an error that names the signal", { needs }, () => {
	const error = refused({ path: PATH, before: fakeNewidmap("kill -9 $$", "exit 4") }, WHOLE);
	assert.equal(error.code, "ERR_USERNS_HELPER_FAILED");
	assert.match(error.message, /newuidmap was killed by signal 9 without output/);
	assert.match(error.message, /newgidmap exited with status 4/);
});

test("a child of newuidmap that keeps standard error open does not delay the creation", { needs }, () => {
	// Not askAs, because newuidmap's child goes on.
	const user = freshUser({ path: PATH, before: fakeNewidmap("sleep 20 & echo $! ; exit 4", "exit 0") });
	const { message, running } = ask<{ message: string; running: boolean }>(
		`const { message } = await userns.UserNamespace.create(${WHOLE}).catch((e) => e);
		const pid = Number(/status 4: (\\d+)/.exec(message)[1]);
		console.log(JSON.stringify({ message, running: process.kill(pid, "SIGKILL") }));`,
		user.options,
	);
	assert.match(message, /newuidmap exited with status 4/);
	assert.ok(running, "the child was still there when the error came");
});

test("a folder of PATH that may not be entered is skipped, as in the shell", { needs }, () => {
	const made = askAs<boolean>(
		freshUser({ path: "/mnt/bin/locked:/usr/bin:/bin", before: "mkdir -m 700 /mnt/bin/locked" }),
		`console.log(JSON.stringify((await userns.UserNamespace.create(${WHOLE})).fd > 2));`,
	);
	assert.ok(made);
});

const odd = ["we ird", "ünïcode", "a.b-c_d$", "x+y*", "(paren", "4711", "UPPER", "semi;colon"];
for (const name of odd) {
	test(`a user called ${JSON.stringify(name)}: the ranges are those of that name and of no other`, {
		needs,
	}, () => {
		const ranges = [`${name}:200000:500`, "xxy:900000:5", "other:800000:5"];
		const answer = askAs<{ id: string; read: string; error: Failure }>(
			freshUser({ name, subuid: ranges, subgid: ranges }),
			`const mapping = userns.Mapping.rootless();
			const ns = await userns.UserNamespace.create(mapping);
			const error = await userns.UserNamespace.create("0:900000:1").catch((e) => e);
			console.log(JSON.stringify({ id: mapping.id.replaceAll(process.getuid(), "OWN"), error,
				read: (await userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mapping()).id.replaceAll(process.getuid(), "OWN") }));`,
		);
		assert.equal(answer.id, "0:OWN:1,1:200000:500");
		assert.equal(answer.read, answer.id);
		assert.equal(answer.error.code, "ERR_USERNS_NOT_DELEGATED");
		assert.ok(answer.error.message.includes(`of the user ${name}`), answer.error.message);
	});
}

test("npm start for a user without newuidmap shows the other parts, and says what it skips", {
	needs: [...needs, "tool:setpriv"],
}, () => {
	const { status, stdout, stderr } = askAs<Record<string, unknown>>(
		freshUser({ through: ["setpriv", "--no-new-privs"] }),
		`import { spawnSync } from "node:child_process";
		import { fileURLToPath } from "node:url";
		const start = fileURLToPath(new URL("../../../scripts/start.mjs", USERNS));
		const { status, stdout, stderr } = spawnSync(process.execPath, [start, "--in-mount-namespace"], { encoding: "utf8" });
		console.log(JSON.stringify({ status, stdout, stderr }));`,
	);
	assert.deepEqual([status, stderr], [0, ""]);
	assert.match(String(stdout), /One user namespace for one mapping/);
	assert.match(String(stdout), /Left out: programs as several users, .*\nhint: .*no_new_privs/);
});

test("a source in the mount namespace of the user's own container is refused, with the cause", {
	needs,
}, () => {
	const errors = askAs<Record<string, string>[]>(
		freshUser(),
		`import { once } from "node:events";
		const own = "u:0:" + process.getuid() + ":1,g:0:" + process.getgid() + ":1";
		const ns = await userns.UserNamespace.create(own);
		const child = ns.spawn("sh", ["-c", "mount -t tmpfs x /mnt && mkdir /mnt/data && echo ready; exec sleep 100"], { unshare: ["mount"] });
		await once(child.stdout, "data");
		const errors = [];
		for (const map of [{ mapping: own }, { owner: { uid: 0, gid: 0 } }])
			await userns.mountIdmapped({ source: "/mnt/data", from: child.pid, ...map }).catch((error) => errors.push(error));
		child.kill("SIGKILL");
		await once(child, "close");
		ns.close();
		console.log(JSON.stringify(errors));`,
	);
	assert.equal(errors.length, 2);
	for (const { code, errnoCode, step, hint } of errors) {
		assert.deepEqual([code, errnoCode, step], ["ERR_USERNS_MOUNT", "EPERM", "joining the mount namespace"]);
		assert.match(hint ?? "", /^Run it as root: .* lacks CAP_SYS_ADMIN and CAP_SYS_CHROOT/);
	}
});
