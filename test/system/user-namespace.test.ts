import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
	closeSync,
	mkdtempSync,
	openSync,
	readFileSync,
	readlinkSync,
	rmSync,
	statSync,
	writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UserNamespace, UsernsError } from "../../src/index.ts";
import { ask } from "../support/child.ts";
import { hosted } from "../support/ids.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "ids"] as const;

function code(expected: string, message?: RegExp): (error: unknown) => boolean {
	return (error) => {
		assert.ok(error instanceof UsernsError, String(error));
		assert.equal(error.code, expected);
		assert.ok(error.hint, "every error of this kind says what to do");
		if (message) assert.match(error.message, message);
		return true;
	};
}

/** A process in its own user namespace, created by unshare(1). */
async function unshared(): Promise<{ pid: number; end: () => Promise<void> }> {
	const child = spawn("unshare", ["--user", "sh", "-c", "echo ready; exec sleep 1000"], {
		stdio: ["ignore", "pipe", "inherit"],
	});
	await once(child.stdout, "data");
	const end = async () => {
		child.kill("SIGKILL");
		if (child.exitCode === null && child.signalCode === null) await once(child, "close");
	};
	return { pid: child.pid as number, end };
}

test("open returns the namespace of a process by its pid, with its mapping", {
	needs: ["linux", "root", "tool:unshare"],
}, async () => {
	const { pid, end } = await unshared();
	writeFileSync(`/proc/${pid}/uid_map`, "0 100000 5");
	writeFileSync(`/proc/${pid}/gid_map`, "0 200000 6");
	const ns = UserNamespace.open(pid);
	assert.equal(ns.inode, Number(/\d+/.exec(readlinkSync(`/proc/${pid}/ns/user`))?.[0]));
	const byPath = UserNamespace.open(`/proc/${pid}/ns/user`);
	assert.ok(ns.equals(byPath));
	await end();
	// The process is gone and its pid can be reused: the mapping belongs to the descriptor.
	assert.deepEqual((await ns.mapping()).toJSON(), (await byPath.mapping()).toJSON());
	assert.deepEqual((await ns.mapping()).uidMappings, [{ containerID: 0, hostID: 100000, size: 5 }]);
	assert.deepEqual((await ns.mapping()).gidMappings, [{ containerID: 0, hostID: 200000, size: 6 }]);
	ns.close();
	byPath.close();
});

test("a mapping that is written after open is read", {
	needs: ["linux", "root", "tool:unshare"],
}, async () => {
	const { pid, end } = await unshared();
	const ns = UserNamespace.open(pid);
	assert.equal((await ns.mapping()).id, "");
	writeFileSync(`/proc/${pid}/uid_map`, "0 100 1");
	assert.equal((await ns.mapping()).id, "u:0:100:1");
	writeFileSync(`/proc/${pid}/gid_map`, "0 100 1");
	assert.equal(ns.mappingSync().id, "0:100:1");
	await end();
	ns.close();
});

test("the process's own namespace has a mapping, and no visible parent", { needs }, async () => {
	const own = UserNamespace.open(process.pid);
	const byPath = UserNamespace.open("/proc/self/ns/user");
	const [first = "", second = "", size = ""] = readFileSync("/proc/self/uid_map", "utf8").trim().split(/\s+/);
	const expected = [{ containerID: Number(first), hostID: Number(second), size: Number(size) }];
	assert.deepEqual((await own.mapping()).uidMappings, expected);
	assert.deepEqual((await byPath.mapping()).uidMappings, expected);
	assert.equal(own.parent(), undefined);
	own.close();
	byPath.close();
});

test("inode, id, owner and parent are the kernel's", { needs }, () => {
	const ns = UserNamespace.createSync(hosted("0:100000:65536"));
	const st = statSync(`/proc/self/fd/${ns.fd}`);
	assert.equal(ns.inode, st.ino);
	assert.equal(ns.ownerUid(), process.geteuid?.());
	const parent = ns.parent() as UserNamespace;
	assert.equal(parent.inode, statSync("/proc/self/ns/user").ino);
	const another = UserNamespace.createSync(hosted("0:100000:65536"));
	// Each processor gives IDs of its own range (gen_cookie_next() in include/linux/cookie.h), so a later one can be smaller.
	if (ns.id !== undefined) assert.notEqual(another.id, ns.id);
	assert.ok(!another.equals(ns));
	for (const each of [ns, parent, another]) each.close();
});

test("a dup is closed independently", { needs }, async () => {
	const ns = UserNamespace.createSync(hosted("0:100000:65536"));
	const dup = ns.dup();
	assert.notEqual(dup.fd, ns.fd);
	assert.ok(dup.equals(ns));
	ns.close();
	assert.equal((await dup.mapping()).id, hosted("0:100000:65536"));
	dup.close();
});

test("a closed namespace throws ERR_USERNS_CLOSED at every use, and closing twice changes nothing", {
	needs,
}, async () => {
	const ns = UserNamespace.createSync(hosted("0:100000:65536"));
	const other = UserNamespace.createSync(hosted("0:100000:65536"));
	const fd = ns.fd;
	ns.close();
	// The kernel gives the lowest free number, so sooner or later the one that was just closed.
	const others = [openSync("/dev/null", "r")];
	while (!others.includes(fd)) others.push(openSync("/dev/null", "r"));
	ns.close();
	ns[Symbol.dispose]();
	assert.equal(readlinkSync(`/proc/self/fd/${fd}`), "/dev/null"); // the second close() did not close it
	for (const each of others) closeSync(each);
	assert.equal(ns.closed, true);
	for (const use of [
		() => ns.fd,
		() => ns.inode,
		() => ns.id,
		() => ns.dup(),
		() => ns.equals(other),
		() => other.equals(ns),
		() => ns.mappingSync(),
		() => ns.ownerUid(),
		() => ns.parent(),
	]) {
		assert.throws(use, code("ERR_USERNS_CLOSED"));
	}
	await assert.rejects(ns.mapping(), code("ERR_USERNS_CLOSED"));
	await assert.rejects(ns.setgroups(), code("ERR_USERNS_CLOSED"));
	other.close();
});

test("open refuses a file that is not a user namespace without opening it for reading", {
	needs,
}, async () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-open-"));
	const { spawnSync } = await import("node:child_process");
	spawnSync("mkfifo", [join(folder, "fifo")]); // opening it for reading would never return
	writeFileSync(join(folder, "file"), "");
	for (const path of [
		join(folder, "fifo"),
		join(folder, "file"),
		folder,
		"/proc/self/ns/net",
		"/proc/self/uid_map",
		"/dev/null",
	]) {
		assert.throws(() => UserNamespace.open(path), code("ERR_USERNS_NOT_A_USER_NAMESPACE"));
	}
	rmSync(folder, { recursive: true });
	assert.throws(() => UserNamespace.open(join(folder, "none")), code("ERR_USERNS_OPEN", /ENOENT/));
	assert.throws(() => UserNamespace.open(2 ** 31 - 1), code("ERR_USERNS_OPEN", /ESRCH/));
});

test("a wrong target throws before any system call", () => {
	for (const target of [0, -1, 1.5, Number.NaN, 2 ** 31, "", "a\0b", null, undefined, {}]) {
		assert.throws(
			() => UserNamespace.open(target as number),
			(error: UsernsError) => error.code === "ERR_USERNS_INVALID_ARGUMENT",
		);
	}
});

test("an ordinary user cannot read the mapping of another user's bare namespace", {
	needs: ["linux", "root", "user"],
}, () => {
	const ns = UserNamespace.createSync("0:100000:65536");
	const answer = ask<{ code: string; errnoCode: string; hint: string }>(
		`const error = await userns.UserNamespace.open("/proc/self/fd/3").mapping().catch((e) => e);
		console.log(JSON.stringify(error));`,
		{ uid: 54321, gid: 54321, stdio: ["ignore", "pipe", "pipe", ns.fd] },
	);
	ns.close();
	assert.equal(answer.code, "ERR_USERNS_READ_MAPPING");
	assert.equal(answer.errnoCode, "EPERM");
	assert.match(answer.hint, /CAP_SYS_ADMIN/);
});
