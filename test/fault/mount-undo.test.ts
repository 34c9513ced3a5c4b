import assert from "node:assert/strict";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Handles, mountIdmapped, overlay, type UsernsError, unmount } from "../../src/index.ts";
import { ask, sh } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "tool:unshare", "linux:6.8"] as const;
const MAP = "0:100000:65536";

/** The mount points of a process at or below a folder. */
function pointsOf(pid: number | "self", folder: string): string[] {
	return readFileSync(`/proc/${pid}/mountinfo`, "utf8")
		.split("\n")
		.map((line) => line.split(" ")[4] ?? "")
		.filter((point) => point.startsWith(folder));
}

for (const [words, mapping] of [
	["a container", undefined],
	["a container with its own user namespace", MAP],
] as const) {
	test(
		`a file and a directory without permissions are unmounted again in ${words}, whatever its /proc is`,
		{ needs },
		() =>
			withTmpfs(async (folder) => {
				const container = await startContainer(folder, "pivot", mapping);
				try {
					const { pid } = container;
					const inside = `/proc/${pid}/root`;
					const user = mapping === undefined ? [] : ["--user", "--setuid=0", "--setgid=0"];
					const there = (...command: string[]) =>
						sh("nsenter", `--target=${pid}`, "--mount", ...user, ...command);
					there("sh", "-c", "touch /file; mkdir -p /closed");
					const [closed = ""] = mkdirs(folder, "closed");
					writeFileSync(join(folder, "file"), "x");
					sh("chown", "7:7", closed);
					sh("chmod", "700", closed);
					there("mount", "-t", "tmpfs", "cover", "/proc");
					const before = readFileSync(`/proc/${pid}/mountinfo`, "utf8");
					for (const [source, target] of [
						[join(folder, "file"), "/file"],
						[closed, "/closed"],
					] as const) {
						const options = { source, target, mapping: "5:5:1", into: pid };
						const mount = await mountIdmapped(options);
						assert.deepEqual(pointsOf(pid, target), [target], "it is mounted there");
						await mount.unmount();
						assert.equal(readFileSync(`/proc/${pid}/mountinfo`, "utf8"), before);
						// Another process unmounts it, and knows only the path.
						(await mountIdmapped(options)).close();
						assert.equal(unmount(target, { into: pid }).kind, "idmapped mount");
						assert.equal(readFileSync(`/proc/${pid}/mountinfo`, "utf8"), before);
						assert.ok(readFileSync(`${inside}/file`, "utf8") === "");
					}
				} finally {
					await container.end();
				}
			}),
	);
}

/**
 * A process that attaches, here or in a container, while strace(1) makes its calls fail. Returns its output and the
 * mounts that stay.
 */
function attaching(source: string, target: string, into: number | undefined, inject: string[]) {
	return ask<{ error: string | null; step: string | null }>(
		`import { spawn } from "node:child_process";
		import { once } from "node:events";
		const mount = await userns.mountIdmapped({ source: ${JSON.stringify(source)}, mapping: "${MAP}" });
		const trace = ["-f", "-qq", "-o", "/dev/null", ...${JSON.stringify(inject)}.flatMap((each) => ["-e", "inject=" + each]), "-p", String(process.pid)];
		const tracer = spawn("strace", trace, { stdio: ["ignore", "ignore", "inherit"] });
		// Waits until strace has attached.
		while (!/TracerPid:\\t[1-9]/.test((await import("node:fs")).readFileSync("/proc/self/status", "utf8"))) await new Promise((r) => setTimeout(r, 10));
		const error = await mount.attach(${JSON.stringify(target)}, ${into === undefined ? "{}" : `{ into: ${into} }`}).then(() => null, (reason) => reason);
		tracer.kill("SIGINT");
		await once(tracer, "close");
		mount.close();
		console.log(JSON.stringify({ error: error && error.code + " " + error.errnoCode, step: error && error.step }));`,
		{ timeout: 60_000 },
	);
}

for (const where of ["here", "in a container"] as const) {
	test(
		`if the propagation cannot be set ${where}, the mount is unmounted again; if that fails too the error says so`,
		{ needs: [...needs, "tool:strace"] },
		() =>
			withTmpfs(async (folder) => {
				const container = where === "here" ? undefined : await startContainer(folder, "pivot");
				const pid = container?.pid ?? "self";
				try {
					const [source = "", plain = ""] = mkdirs(folder, "source", "plain");
					writeFileSync(join(folder, "file"), "x");
					writeFileSync(join(folder, "target-file"), "");
					const root = container === undefined ? "" : `/proc/${container.pid}/root`;
					const directory = container === undefined ? plain : "/data";
					const file = container === undefined ? join(folder, "target-file") : "/data-file";
					writeFileSync(`${root}${file}`, "");
					const fails = ["mount_setattr:error=ENOMEM"];
					for (const [from, to] of [
						[source, directory],
						[join(folder, "file"), file],
					] as const) {
						const table = readFileSync(`/proc/${pid}/mountinfo`, "utf8");
						const undone = attaching(from, to, container?.pid, fails);
						assert.equal(undone.error, "ERR_USERNS_MOUNT ENOMEM");
						assert.match(undone.step ?? "", /setting the propagation of the attached mount/);
						assert.equal(readFileSync(`/proc/${pid}/mountinfo`, "utf8"), table, "nothing stays");
						const left = attaching(from, to, container?.pid, [...fails, "umount2:error=EPERM"]);
						assert.equal(left.error, "ERR_USERNS_MOUNT ENOMEM");
						assert.match(left.step ?? "", /undoing the attach failed, and the mount stays/);
						assert.deepEqual(pointsOf(pid, to), [to], "as the error says");
						if (container === undefined) sh("umount", to);
						else sh("nsenter", `--target=${container.pid}`, "--mount", "umount", to);
					}
				} finally {
					await container?.end();
				}
			}),
	);
}

test(
	"a child that another process kills is not reported as a file system that does not answer",
	{ needs: [...needs, "tool:strace"] },
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			const killed = attaching(source, target, undefined, ["move_mount:signal=KILL"]);
			assert.equal(killed.error, "ERR_USERNS_MOUNT EINTR");
			assert.match(killed.step ?? "", /was killed/);
			assert.deepEqual(pointsOf("self", target), []);
		}),
);

/** Closes a descriptor as a faulty library does, and opens the root of another mount under the same number. */
function reuse(number: number, path: string): void {
	closeSync(number);
	for (const opened: number[] = []; ; ) {
		const fd = openSync(path, "r");
		opened.push(fd);
		if (fd < number) continue;
		assert.equal(fd, number, "the number is used again");
		for (const each of opened) if (each !== number) closeSync(each);
		return;
	}
}

test(
	"if other code has closed the descriptor, the mount that now has its number is not unmounted, moved or closed",
	{ needs },
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = "", victim = "", other = ""] = mkdirs(
				folder,
				"source",
				"target",
				"victim",
				"other",
			);
			sh("mount", "-t", "tmpfs", "victim", victim);
			writeFileSync(join(victim, "precious"), "");
			using handles = new Handles();
			const base = { source, mapping: MAP, handles };
			const victimLine = () =>
				readFileSync("/proc/self/mountinfo", "utf8")
					.split("\n")
					.find((line) => line.split(" ")[4] === victim);
			const before = victimLine();
			for (const make of [
				() => mountIdmapped({ ...base, target }),
				() => mountIdmapped({ ...base, target, recursive: true, nosuid: true }),
				() => overlay({ lower: [source, other], mapping: MAP, target }),
			]) {
				const mount = await make();
				const number = mount.fd;
				reuse(number, victim);
				await assert.rejects(
					mount.unmount(),
					(error: UsernsError) => /ESTALE/.test(error.message) && /closed descriptor/.test(error.hint ?? ""),
				);
				assert.equal(victimLine(), before);
				assert.deepEqual(pointsOf("self", target), [target], "the mount stays until unmount(path)");
				mount.close();
				closeSync(number); // still the descriptor of the other code
				assert.match(unmount(target).kind, /mount|overlay/);
			}
			const detached = await mountIdmapped(base);
			const number = detached.fd;
			reuse(number, victim);
			const error: UsernsError = await detached.attach(target).then(
				() => assert.fail("it was attached"),
				(reason) => reason,
			);
			assert.match(`${error.code} ${error.errnoCode}`, /^ERR_USERNS_(MOUNT ESTALE|ATTACHED undefined)$/);
			assert.equal(victimLine(), before);
			assert.deepEqual(pointsOf("self", target), []);
			closeSync(number);
			sh("umount", victim);
		}),
);
