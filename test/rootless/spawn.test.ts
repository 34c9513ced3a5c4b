import assert from "node:assert/strict";
import { askAs, askOrdinary, freshUser } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "ordinary"] as const;
const fresh = ["linux", "root", "ordinary"] as const;

/** For the scripts: the output of a program, and its end. */
const RUN = `const run = (ns, command, args, options) => new Promise((resolve) => {
		const child = ns.spawn(command, args, options);
		const said = { stdout: "", stderr: "", error: undefined };
		child.stdout?.on("data", (chunk) => { said.stdout += chunk; });
		child.stderr?.on("data", (chunk) => { said.stderr += chunk; });
		child.on("error", (error) => { said.error = error; });
		child.on("close", (status, signal) => resolve({ status, signal, ...said }));
	});`;

test("spawn runs a program as root, as another user, with groups, and in other namespaces", {
	needs: [...needs, "tool:hostname", "ns:time"],
}, () => {
	const answer = askOrdinary<{ root: string; other: string; groups: string; all: string }>(
		`${RUN}
		const ns = await userns.UserNamespace.create(userns.Mapping.rootless(), { setgroups: "allow" });
		const said = async (...args) => { const { stdout, stderr } = await run(ns, ...args); return (stdout + stderr).trim(); };
		console.log(JSON.stringify({
			root: await said("id", ["-u"]),
			other: await said("sh", ["-c", "id -u; id -g"], { uid: 33, gid: 44 }),
			groups: await said("id", ["-G"], { groups: [7, 8] }),
			all: await said("sh", ["-c", "mount -t proc proc /proc; mount -t tmpfs x /mnt; hostname inside; ls -d /proc/[0-9]* | wc -l"],
				{ unshare: ["mount", "pid", "net", "ipc", "uts", "cgroup", "time"] }),
		}));`,
	);
	assert.equal(answer.root, "0");
	assert.equal(answer.other, "33\n44");
	assert.equal(answer.groups, "0 7 8");
	// At most process 1, the shell, and the two programs of the pipe.
	assert.ok(Number(answer.all) >= 2 && Number(answer.all) <= 4, answer.all);
});

test("the program is in its own session, or with keepSession in the user's", { needs }, () => {
	const { own, sessions } = askOrdinary<{ own: number; sessions: [pid: number, session: number][] }>(
		`import fs from "node:fs";
		import { once } from "node:events";
		const session = (pid) => Number(fs.readFileSync("/proc/" + pid + "/stat", "utf8").split(") ")[1].split(" ")[3]);
		const ns = await userns.UserNamespace.create(userns.Mapping.rootless());
		const sessions = [];
		for (const keepSession of [false, true]) for (const unshare of [[], ["pid"]]) {
			const child = ns.spawn("sh", ["-c", "echo ready; read a"], { keepSession, unshare });
			await once(child.stdout, "data");
			sessions.push([child.pid, session(child.pid)]);
			child.stdin.end();
			await once(child, "close");
		}
		console.log(JSON.stringify({ own: session(process.pid), sessions }));`,
	);
	const wanted = sessions.map(([pid], index) => (index < 2 ? pid : own));
	assert.deepEqual(
		sessions.map(([, session]) => session),
		wanted,
	);
});

test("with setgroups denied the user's own groups stay, as the kernel demands, and the groups option fails", {
	needs: fresh,
}, () => {
	const user = freshUser();
	user.options.prefix = (user.options.prefix ?? []).map((part) =>
		part.replace("--clear-groups", `--groups=${user.uid},12345`),
	);
	const answer = askAs<{ groups: string; error: string }>(
		user,
		`${RUN}
		const ns = await userns.UserNamespace.create(userns.Mapping.rootless());
		let error; try { ns.spawn("true", [], { groups: [] }); } catch (e) { error = e.message; }
		console.log(JSON.stringify({ error, groups: (await run(ns, "sed", ["-n", "s/^Groups:.//p", "/proc/self/status"])).stdout }));`,
	);
	// The namespace does not map 12345.
	assert.deepEqual(answer.groups.trim().split(" ").sort(), ["0", "65534"]);
	assert.match(answer.error, /denies setgroups/);
});

test("a namespace with keepId runs the program as the user, whose files it makes, and as root on request", {
	needs: fresh,
}, () => {
	const user = freshUser({ before: "mkdir /mnt/home; chown $user:$user /mnt/home" });
	const answer = askAs<Record<string, [said: string, uid: number, gid: number]>>(
		user,
		`${RUN}
		import fs from "node:fs";
		const answer = {};
		for (const [name, map, options] of [
			["kept", userns.Mapping.rootless({ keepId: true }), {}],
			["joined", userns.Mapping.rootless({ keepId: true }), { unshare: ["mount", "pid"] }],
			["other", userns.Mapping.rootless({ keepId: { uid: 33, gid: 44 } }), {}],
			["text", userns.Mapping.rootless({ keepId: true }).toString(), {}],
			["root", userns.Mapping.rootless({ keepId: true }), { uid: 0 }],
			["group", userns.Mapping.rootless({ keepId: true }), { gid: 0 }],
			["auto", userns.Mapping.rootless(), {}],
		]) {
			const ns = await userns.UserNamespace.create(map);
			const file = "/mnt/home/" + name;
			// A file of a subordinate ID cannot be made in the home, which belongs to the user.
			const script = "id -u; id -g; umask 0; touch " + file + " || touch /mnt/home/open/" + name;
			if (name === "kept") { fs.mkdirSync("/mnt/home/open"); fs.chmodSync("/mnt/home/open", 0o777); }
			const { stdout } = await run(ns, "sh", ["-c", script], options);
			const { uid, gid } = fs.statSync(fs.existsSync(file) ? file : "/mnt/home/open/" + name);
			answer[name] = [stdout.trim().replace("\\n", ":"), uid, gid];
			ns.close();
		}
		console.log(JSON.stringify(answer));`,
	);
	const { uid } = user; // and the gid
	assert.deepEqual(answer, {
		kept: [`${uid}:${uid}`, uid, uid],
		joined: [`${uid}:${uid}`, uid, uid],
		other: ["33:44", uid, uid],
		text: [`${uid}:${uid}`, uid, uid],
		root: ["0:0", 200000, 200000],
		group: [`${uid}:0`, uid, 200000],
		auto: ["0:0", uid, uid],
	});
});

test("a namespace that maps the user's own ID to another number runs the program with that number", {
	needs,
}, () => {
	const said = askOrdinary<string>(
		`${RUN}
		const ns = await userns.UserNamespace.create("u:7:" + process.getuid() + ":1,g:8:" + process.getgid() + ":1");
		console.log(JSON.stringify((await run(ns, "sh", ["-c", "id -u; id -g"])).stdout));`,
	);
	assert.equal(said, "7\n8\n");
});

test("spawn in another user's namespace fails and says which users may enter; open works", {
	needs: fresh,
}, () => {
	const before = `unshare --user sleep 60 > /dev/null 2>&1 & other=$!
		while [ "$(readlink /proc/$other/ns/user)" = "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
		echo '0 100000 5' > /proc/$other/uid_map
		echo '0 100000 5' > /proc/$other/gid_map
		touch /mnt/ns
		mount --bind /proc/$other/ns/user /mnt/ns
		kill $other`;
	const errors = askAs<Record<string, string>[]>(
		freshUser({ before }),
		`const ns = userns.UserNamespace.open("/mnt/ns");
		const errors = [await ns.mapping().catch((e) => e)];
		for (const attempt of [() => ns.spawn("true"), () => ns.exec("true")])
			try { attempt(); } catch (error) { errors.push(error); }
		console.log(JSON.stringify(errors));`,
	);
	assert.equal(errors.length, 3);
	for (const error of errors) {
		assert.equal(error.errnoCode, "EPERM");
		assert.equal(error.step, "joining the namespace");
		assert.match(error.hint ?? "", /CAP_SYS_ADMIN in it/);
	}
});
