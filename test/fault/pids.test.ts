import assert from "node:assert/strict";
import { ask } from "../support/child.ts";
import { forRoot, prelude, supervised } from "../support/operations.ts";
import { freshUser, processesOf } from "../support/ordinary.ts";
import { ACTION, SCOPE } from "../support/supervise.ts";
import { test } from "../support/test.ts";

const LONG = process.env.USERNS_LONG === "1";
const needs = ["linux", "root", "tool:unshare"] as const;
/** The file that chooses the next pid (CONFIG_CHECKPOINT_RESTORE). */
const chosen = [...needs, "path:/proc/sys/kernel/ns_last_pid"] as const;
/** A pid namespace in which no other program starts a process, so that the next pid is known. */
const apart = ["unshare", "--pid", "--fork", "--mount-proc"];

test("creation processes that all have the same pid get their own maps", { needs: chosen }, () => {
	const { pids, right } = ask<{ pids: number; right: number }>(
		`import fs from "node:fs";
		const LAST = "/proc/sys/kernel/ns_last_pid";
		const seen = new Set(); let right = 0;
		(await userns.UserNamespace.create("0:1:1")).close(); // its thread takes a pid too
		for (let i = 0; i < ${LONG ? 20_000 : 500}; i++) {
			fs.writeFileSync(LAST, "2000");
			const map = "0:" + (100000 + i) + ":" + (1 + i % 5);
			const ns = i % 2 ? await userns.UserNamespace.create(map) : userns.UserNamespace.createSync(map);
			seen.add(fs.readFileSync(LAST, "utf8").trim());
			const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
			fs.writeFileSync(LAST, "2000");
			if (bare.mappingSync().id === map) right++;
			ns.close(); bare.close();
		}
		console.log(JSON.stringify({ pids: seen.size, right }));`,
		{ prefix: apart, timeout: 300_000 },
	);
	assert.equal(right, LONG ? 20_000 : 500);
	assert.equal(pids, 1, "each creation process had that pid, so this shows what it should");
});

/**
 * A shell beside the script starts a process in the first namespace. On a word from the script it ends that process and
 * starts another one in the second namespace with the same pid. Meanwhile one of the script's calls is held.
 */
const SWAP = `import { spawn } from "node:child_process";
	import { once } from "node:events";
	const SHELL = \`read first second
		while read word; do
			nsenter --user=/proc/$PPID/fd/$first sleep 100 & old=$!
			while [ "$(readlink /proc/$old/ns/user)" != "$(readlink /proc/$PPID/fd/$first)" ]; do :; done
			echo $old
			read word
			sleep 0.04
			kill -9 $old; wait $old 2>/dev/null
			echo $((old - 1)) > /proc/sys/kernel/ns_last_pid
			nsenter --user=/proc/$PPID/fd/$second sleep 100 & new=$!
			while [ "$(readlink /proc/$new/ns/user)" != "$(readlink /proc/$PPID/fd/$second)" ]; do :; done
			echo $new
			read word
			kill -9 $new; wait $new 2>/dev/null
		done\`;
	const second = userns.UserNamespace.createSync("0:200000:7");
	const shell = spawn("sh", ["-c", SHELL], { stdio: ["pipe", "pipe", "inherit"] });
	let lines = [], wake = () => {};
	shell.stdout.setEncoding("utf8").on("data", (text) => { lines.push(...text.trim().split("\\n")); wake(); });
	const line = async () => { while (lines.length === 0) await new Promise((r) => { wake = r; }); return Number(lines.shift()); };
	const send = (word) => shell.stdin.write(word + "\\n");
	send(NS.fd + " " + second.fd);`;

test("open of a pid that is reused meanwhile returns the first process's namespace or an error, never a mixture", {
	needs: [...chosen, "mounts", "tool:cc", "tool:nsenter"],
	timeout: 300_000,
}, (t) => {
	const [operation] = forRoot as [(typeof forRoot)[number]];
	const { status, stdout, stderr } = supervised(
		`${prelude(operation, "/", '"0:100000:5"')}${SWAP}
		const points = [];
		for (let index = 1; index < 100; index += ${LONG ? 1 : 3}) {
			send("start");
			const pid = await line();
			send("swap");
			let ns, error;
			arm(${ACTION.hold}, ${SCOPE.own}, index, ${LONG ? 250 : 200});
			try { ns = userns.UserNamespace.open(pid); } catch (e) { error = e; }
			const { hit } = disarm();
			const again = await line();
			send("end");
			if (hit === undefined) { ns?.close(); break; }
			points.push({ reused: again === pid, isFirst: ns?.equals(NS), map: ns?.mappingSync().id, code: error?.code, step: error?.step });
			ns?.close();
		}
		shell.stdin.end();
		await once(shell, "close");
		console.log(JSON.stringify(points));`,
		{ outer: apart },
	);
	assert.equal(status, 0, stderr);
	const points = JSON.parse(stdout) as {
		reused: boolean;
		isFirst?: boolean;
		map?: string;
		code?: string;
		step?: string;
	}[];
	const reused = points.filter((each) => each.reused);
	t.diagnostic(`${reused.length} pids reused at ${points.length} points`);
	assert.ok(points.length >= (LONG ? 15 : 5) && reused.length >= points.length / 2, stdout);
	let first = 0;
	for (const [i, { isFirst, map, code, step }] of points.entries()) {
		if (code !== undefined) {
			assert.equal(code, "ERR_USERNS_OPEN", stdout);
			assert.ok(step);
			continue;
		}
		// Before the very first call is made, the pid belongs to the other process already.
		if (i === 0 && !isFirst) assert.equal(map, "0:200000:7");
		else {
			assert.ok(isFirst, `point ${i}: ${stdout}`);
			assert.equal(map, "0:100000:5");
			first++;
		}
	}
	assert.ok(first < points.length, stdout);
});

test("a newuidmap that hangs does not outlive its caller", {
	needs: [...needs, "ordinary", "tool:cc"],
}, async () => {
	const hang =
		"printf '#!/bin/sh\\nexec sleep 1000\\n' > /mnt/bin/newuidmap; chmod 755 /mnt/bin/newuidmap; cp /mnt/bin/newuidmap /mnt/bin/newgidmap";
	const user = freshUser({ path: "/mnt/bin:/usr/bin:/bin", before: hang });
	const { status, stderr } = supervised(
		`void userns.UserNamespace.create("0:200000:1000");
		setTimeout(() => process.kill(process.pid, "SIGKILL"), 300);`,
		user.options,
	);
	assert.equal(status, 128 + 9, stderr); // 99: a process still runs
	assert.deepEqual(processesOf(user.uid), []);
});

if (LONG) {
	test("a newuidmap that hangs is killed after the time limit, and the error says so", {
		needs: [...needs, "ordinary"],
		timeout: 100_000,
	}, () => {
		const hang =
			"printf '#!/bin/sh\\nexec sleep 1000\\n' > /mnt/bin/newuidmap; chmod 755 /mnt/bin/newuidmap; cp /mnt/bin/newuidmap /mnt/bin/newgidmap";
		const user = freshUser({ path: "/mnt/bin:/usr/bin:/bin", before: hang });
		const { code, message, seconds } = ask<{ code: string; message: string; seconds: number }>(
			`const began = Date.now();
			const error = await userns.UserNamespace.create("0:200000:1000").catch((e) => e);
			console.log(JSON.stringify({ ...error.toJSON(), seconds: (Date.now() - began) / 1000 }));`,
			{ ...user.options, timeout: 90_000 },
		);
		assert.equal(code, "ERR_USERNS_HELPER_FAILED");
		assert.match(message, /newuidmap/);
		assert.ok(seconds > 29 && seconds < 45, `${seconds} s`);
		assert.deepEqual(processesOf(user.uid), []);
	});
}
