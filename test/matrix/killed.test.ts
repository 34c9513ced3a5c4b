import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { root } from "../support/child.ts";
import { mountAt, unescapeOctal } from "../support/mounts.ts";
import { test } from "../support/test.ts";
import { ext4, type FileSystem, fuse } from "./filesystems.ts";
import { needsOf } from "./matrix.ts";

// The loop devices and servers of the matrix must end with it when it is killed. The mounts end by themselves.

async function until(what: string, holds: () => boolean): Promise<void> {
	for (let i = 0; !holds(); i++) {
		assert.ok(i < 1000, `waited in vain until ${what}`);
		await sleep(10);
	}
}

function read(path: string): string {
	try {
		return readFileSync(path, "utf8");
	} catch {
		return "";
	}
}

/** The process that adopts an orphan may reap it late. */
function isAlive(pid: string): boolean {
	const status = read(`/proc/${pid}/status`);
	return status !== "" && !/^State:\s*[ZX]/m.test(status);
}

/** Waits until it is mounted. Returns its source: the device of a loop mount. */
function findDisk(pid: number): { folder: string; source: string } | undefined {
	const line = /^\S+ \S+ \S+ \S+ (\S+\/matrix-\w+\/disk) .* - \S+ (\S+) /m.exec(
		read(`/proc/${pid}/mountinfo`),
	);
	return line === null
		? undefined
		: { folder: dirname(unescapeOctal(line[1] as string)), source: line[2] as string };
}

async function kill(fs: FileSystem): Promise<{ source: string; children: string[] }> {
	const file = join(root, "dist/test/matrix", `${fs.name}.test.js`);
	const args = ["--mount", "--propagation", "private", process.execPath, file];
	const child = spawn("unshare", args, { stdio: "ignore" });
	const ended = once(child, "exit");
	const pid = child.pid as number;
	let found: ReturnType<typeof findDisk>;
	try {
		await until("it is mounted", () => {
			assert.equal(child.exitCode, null, "the tests ended too early");
			found = findDisk(pid);
			return found !== undefined;
		});
	} finally {
		child.kill("SIGSTOP"); // so that it does not end before the kill
	}
	const children = read(`/proc/${pid}/task/${pid}/children`).split(" ").filter(Boolean);
	child.kill("SIGKILL");
	await ended;
	const { folder, source } = found as NonNullable<typeof found>;
	assert.equal(mountAt(folder), undefined);
	rmdirSync(folder); // it must be empty
	return { source, children };
}

test("SIGKILL to the matrix frees the loop device", {
	needs: [...needsOf(ext4), "tool:unshare"],
}, async () => {
	const { source } = await kill(ext4);
	assert.match(source, /^\/dev\/loop\d+$/);
	const backing = `/sys/block/${source.slice("/dev/".length)}/loop/backing_file`;
	const before = read(backing);
	await until("the loop device is free", () => read(backing) !== before || before === "");
});

test("SIGKILL to the matrix ends the server of the FUSE file system", {
	needs: [...needsOf(fuse), "tool:unshare"],
}, async () => {
	const { children } = await kill(fuse);
	assert.ok(children.length > 0);
	for (const pid of children) await until("the server is gone", () => !isAlive(pid));
});
