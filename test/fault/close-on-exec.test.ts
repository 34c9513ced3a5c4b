import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask } from "../support/child.ts";
import { test } from "../support/test.ts";

/*
 * Compares what the package asked the kernel for with the result: every descriptor is close-on-exec from the start.
 * test/unit/native-calls.test.ts checks the same in the source.
 */

const MAKERS =
	"open,openat,openat2,open_tree,fsopen,fsmount,fspick,pidfd_open,pipe,pipe2,socket,socketpair,accept,accept4,dup,dup2,dup3,fcntl,eventfd2,memfd_create,epoll_create1,recvmsg,execve,execveat";

/** Every operation that opens descriptors. The descriptors in `kept` are still open at the end. */
const EVERYTHING = `const kept = [];
	const ns = await userns.UserNamespace.create("0:100000:65536");
	kept.push(ns, userns.UserNamespace.createSync("0:5:1"), userns.UserNamespace.open(process.pid), ns.dup());
	const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
	await bare.mapping(); bare.mappingSync();
	kept.push(bare, bare.parent());
	for (const folder of ["a", "b", "c", "d", "e", "upper", "work"]) fs.mkdirSync("/mnt/" + folder);
	kept.push(await userns.mountIdmapped({ source: "/mnt/a", target: "/mnt/b", userns: ns }));
	kept.push(await userns.mountIdmapped({ source: "/mnt/b", target: "c", targetRoot: "/mnt", mapping: "100000:7:1", recursive: true }));
	kept.push(await userns.mountIdmapped({ source: "/mnt/a", mapping: "0:9:1" }));
	kept.push(await userns.overlay({ lower: "/mnt/a", upper: "/mnt/upper", work: "/mnt/work", target: "/mnt/d", mapping: "0:1:1" }));
	userns.pin(ns, "/mnt/pinned");
	userns.unmount("/mnt/pinned");
	const child = ns.spawn("sleep", ["1000"], { unshare: ["mount"], stdio: "ignore" });
	while (fs.readlinkSync("/proc/" + child.pid + "/ns/mnt") === fs.readlinkSync("/proc/self/ns/mnt") ||
		!fs.readFileSync("/proc/" + child.pid + "/comm", "utf8").startsWith("sleep")) await new Promise((r) => setTimeout(r, 5));
	(await userns.mountIdmapped({ source: "/mnt/a", target: "/mnt/e", into: child.pid, mapping: "0:3:1" })).close();
	userns.mounts({ pid: child.pid });
	userns.unmount("/mnt/e", { into: child.pid });
	await userns.mountIdmapped({ source: "/mnt/a", target: "/mnt/e", mapping: "0:4:1" }).then((mount) => mount.unmount());
	child.kill("SIGKILL");
	await new Promise((resolve) => child.on("close", resolve));`;

test("every descriptor that the package and its memory-sharing children open is close-on-exec from the start", {
	needs: ["linux", "root", "mounts", "linux:6.15", "fs:overlay", "path:/mnt", "tool:strace", "tool:unshare"],
}, () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-strace-"));
	const log = join(folder, "log");
	try {
		const open = ask<{ bare: string[]; kept: number }>(
			`import fs from "node:fs";
			const inheritable = () => fs.readdirSync("/proc/self/fdinfo").flatMap((fd) => {
				try {
					const flags = Number.parseInt(/^flags:\\s+(\\d+)/m.exec(fs.readFileSync("/proc/self/fdinfo/" + fd, "utf8"))[1], 8);
					return flags & 0o2000000 ? [] : [fd + " " + fs.readlinkSync("/proc/self/fd/" + fd)];
				} catch { return []; }
			});
			const before = new Set(inheritable());
			try { fs.openSync("/userns-begin"); } catch {}
			${EVERYTHING}
			try { fs.openSync("/userns-end"); } catch {}
			console.log(JSON.stringify({ bare: inheritable().filter((each) => !before.has(each)), kept: kept.length }));
			for (const each of kept.reverse()) await (each?.unmount ?? each?.close)?.call(each);`,
			{
				prefix: [
					...["unshare", "--mount", "--propagation", "private"],
					...["sh", "-c", 'mount -t tmpfs x /mnt && exec "$@"', "sh"],
					...[
						"strace",
						"-f",
						"-qq",
						"--seccomp-bpf",
						"-e",
						"signal=none",
						"-e",
						`trace=${MAKERS}`,
						"-o",
						log,
					],
				],
			},
		);
		assert.deepEqual(open.bare, []);
		assert.equal(open.kept, 10);
		const lines = whole(readFileSync(log, "utf8"));
		const from = lines.findIndex(({ call }) => call.includes("/userns-begin"));
		const to = lines.findIndex(({ call }) => call.includes("/userns-end"));
		assert.ok(from >= 0 && to > from + 50, `${to - from} calls`);
		const executed = new Set<string>();
		const seen = new Set<string>();
		const wrong: string[] = [];
		for (const { pid, call } of lines.slice(from, to)) {
			const name = /^\w+/.exec(call)?.[0] ?? "";
			if (name.startsWith("execve") && call.endsWith("= 0")) executed.add(pid);
			if (executed.has(pid) || !/= \d/.test(call)) continue;
			seen.add(name);
			if (!isSafe(name, call)) wrong.push(`${pid} ${call}`);
		}
		assert.deepEqual(wrong, []);
		for (const name of ["openat2", "open_tree", "fsopen", "fsmount", "socketpair", "recvmsg", "fcntl"]) {
			assert.ok(seen.has(name), `${name} was made: ${[...seen].join()}`);
		}
	} finally {
		rmSync(folder, { recursive: true });
	}
});

/** strace(1) splits a line if another thread makes a call meanwhile. */
function whole(text: string): { pid: string; call: string }[] {
	const begun = new Map<string, string>();
	return text.split("\n").flatMap((line) => {
		const [, pid = "", rest = ""] = /^(\d+)\s+(.*)$/.exec(line) ?? [];
		const cut = /^(.*) <unfinished \.\.\.>$/.exec(rest)?.[1];
		if (cut !== undefined) {
			begun.set(pid, cut);
			return [];
		}
		const end = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)?.[1];
		return [{ pid, call: end === undefined ? rest : (begun.get(pid) ?? "") + end }];
	});
}

const OPEN_TREE_CLOEXEC = 0x80000;

function isSafe(name: string, call: string): boolean {
	// open_tree_attr(2), which many versions of strace print by its number, as they print other new calls without a
	// descriptor.
	if (name === "syscall_0x1d3") return (Number(call.split(", ")[2]) & OPEN_TREE_CLOEXEC) !== 0;
	if (name.startsWith("syscall_0x")) return true;
	// A child of Node, which has its own descriptor table and is about to call execve(2).
	if (/^openat\(AT_FDCWD, "\/dev\/null", \w+\) = [012]$/.test(call)) return true;
	if (name === "fcntl") return !/F_DUPFD,/.test(call);
	// Duplicates a descriptor for the program that the child executes next, into the child's own table.
	if (name === "dup3" || name === "dup2") return /, [0-9]+(, 0)?\)/.test(call) || call.includes("O_CLOEXEC");
	if (name === "recvmsg") return !call.includes("SCM_RIGHTS") || call.includes("MSG_CMSG_CLOEXEC");
	if (name.startsWith("pidfd_") || name.startsWith("execve")) return true;
	return call.includes("CLOEXEC");
}
