import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { getPriority } from "node:os";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { becomes, status } from "../support/programs.ts";
import { test } from "../support/test.ts";

/* What the program of `userns exec` gets from the caller, and what docs/rootless.md says is different. */

const needs = ["linux", "root"] as const;
const MAIN = join(root, "dist/src/cli/userns.js");
const EXEC = `'${process.execPath}' '${MAIN}' exec --map 0:100000:65536`;

function shell(script: string): { status: number | null; stdout: string; stderr: string } {
	return spawnSync("sh", ["-c", script], { encoding: "utf8", env: { ...process.env, USERNS_TEST: "a  b" } });
}

for (const options of ["", "--unshare pid"]) {
	test(`exec ${options}: the program has the umask, limits, nice value, directory and environment of the caller`, {
		needs,
	}, () => {
		const inside = 'umask; ulimit -S -c; ulimit -H -s; nice; pwd; echo "$USERNS_TEST"; ulimit -S -n';
		const before = "umask 0137; ulimit -c 3; ulimit -s 4000; ulimit -S -n 77; cd /usr";
		const { stdout, stderr } = shell(`${before}; exec nice -n 7 ${EXEC} ${options} -- sh -c '${inside}'`);
		const hard = shell("ulimit -H -n").stdout.trim();
		const nice = Math.min(getPriority() + 7, 19);
		// Node raises the last one.
		assert.equal(stdout, `0137\n3\n4000\n${nice}\n/usr\na  b\n${hard}\n`, stderr);
		const lower = shell(`${EXEC} ${options} -- sh -c 'ulimit -S -n 1024; exec sh -c "ulimit -S -n"'`);
		assert.equal(lower.stdout, "1024\n");
	});

	test(`exec ${options}: the program has all three standard streams if the caller closed one`, {
		needs,
	}, () => {
		const inside = "for fd in 0 1 2; do test -e /proc/self/fd/$fd || exit 9; done; cat; exit 5";
		for (const closed of ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"]) {
			const input = closed.includes("0<&-") ? "" : "</dev/null";
			assert.equal(shell(`${EXEC} ${options} -- sh -c '${inside}' ${input} ${closed}`).status, 5, closed);
		}
	});
}

test("nohup before the command does not keep SIGHUP from the program, and nohup inside does", {
	needs,
}, async () => {
	for (const [before, inside, signal] of [
		["nohup ", "", "SIGHUP"],
		["", "nohup ", "SIGKILL"],
	] as const) {
		const child = spawn("sh", ["-c", `exec ${before}${EXEC} -- ${inside}sleep 1000`], {
			stdio: ["ignore", "pipe", "pipe"],
		});
		const end = once(child, "close");
		const pid = child.pid as number;
		await becomes(pid, "sleep");
		assert.equal(Number.parseInt(status(pid, "SigIgn") ?? "", 16) & 1, inside === "" ? 0 : 1);
		child.kill("SIGHUP");
		if (inside !== "") child.kill("SIGKILL");
		assert.deepEqual((await end)[1], signal);
	}
});

test("a procfs is mounted in a pid namespace, and refused with EPERM if a part of the outer /proc is masked", {
	needs: [...needs, "mounts", "tool:unshare"],
}, () => {
	const mount = `${EXEC} --unshare mount,pid -- sh -c "mount -t proc proc /proc && ls -d /proc/1 /proc/self/ns"`;
	const under = (before: string) =>
		spawnSync("unshare", ["--mount", "--propagation", "private", "sh", "-c", `${before} ${mount}`], {
			encoding: "utf8",
			env: { ...process.env, LC_ALL: "C" },
		});
	const whole = under("");
	assert.deepEqual([whole.stdout, whole.stderr], ["/proc/1\n/proc/self/ns\n", ""]);
	const masked = under("mount --bind /dev/null /proc/version;");
	assert.notEqual(masked.status, 0);
	assert.equal(masked.stdout, "");
	assert.match(masked.stderr, /permission denied|not permitted/i);
});
