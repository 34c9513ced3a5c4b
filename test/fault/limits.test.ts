import assert from "node:assert/strict";
import { join } from "node:path";
import { UserNamespace } from "../../src/index.ts";
import { ask, packageForAll, sh } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { reasonToSkip } from "../support/needs.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root"] as const;
const ADDON = `import { createRequire } from "node:module";
	const addon = createRequire("/")(${JSON.stringify(join(packageForAll(), `prebuilds/userns.linux-${process.arch}.node`))});`;
const LIMIT = "/proc/sys/user/max_user_namespaces";

/** Runs a script as root of a namespace that allows `most` namespaces inside it. */
async function withLimit<T>(most: number, script: string): Promise<T> {
	const outer = await UserNamespace.create("0:100000:65536", { setgroups: "allow" });
	try {
		return ask<T>(
			`import fs from "node:fs";\nfs.writeFileSync("${LIMIT}", "${most}");\n${ADDON}\n${script}`,
			{
				prefix: ["nsenter", "--user=/proc/self/fd/3", "--setuid", "0", "--setgid", "0"],
				stdio: ["ignore", "pipe", "pipe", outer.fd],
			},
		);
	} finally {
		outer.close();
	}
}

for (const [limit, hint] of [
	[0, /^Let root enable user namespaces, .*sysctl user\.max_user_namespaces/],
	[1, /^Close unused user namespaces, .*32 deep/],
] as const) {
	test(`a lasting ENOSPC is ERR_USERNS_LIMIT, whose hint fits the limit ${limit}`, {
		needs: [...needs, "tool:nsenter"],
	}, async () => {
		const script = `const handles = new userns.Handles();
		const held = Array.from({ length: ${limit} }, () => userns.UserNamespace.createSync("0:0:2"));
		const errors = [await handles.get("0:0:1").catch((e) => e)];
		try { handles.getSync("0:0:1"); } catch (e) { errors.push(e); }
		console.log(JSON.stringify({ errors, size: handles.size, held: held.length }));`;
		const { errors, size } = await withLimit<{ errors: Record<string, string>[]; size: number }>(
			limit,
			script,
		);
		assert.equal(errors.length, 2);
		for (const error of errors) {
			assert.equal(error.code, "ERR_USERNS_LIMIT");
			assert.equal(error.errnoCode, "ENOSPC");
			assert.equal(error.mapping, "0:0:1");
			assert.ok(error.hint?.includes(LIMIT));
			assert.match(error.hint ?? "", hint);
		}
		assert.equal(size, 0);
	});
}

test("a creation retries after a transient ENOSPC, because the kernel lowers the count after the reap", {
	needs: [...needs, "tool:nsenter", "processors"], // on one processor, the count may be lowered before the next creation
}, async () => {
	// The control: without a retry, the kernel refuses some of these.
	const script = `let refused = 0, made = 0;
		const create = addon.createMethod(() => {});
		for (let i = 0; i < 10; i++) {
			const ns = await userns.UserNamespace.create("0:0:1"); made++; ns.close();
			const raw = create("0 0 1", null, false, true, [], -1);
			if (raw.error === -28) refused++; else addon.close(raw);
			const again = userns.UserNamespace.createSync("0:0:1"); made++; again.close();
		}
		console.log(JSON.stringify({ refused, made }));`;
	const { refused, made } = await withLimit<{ refused: number; made: number }>(1, script);
	assert.equal(made, 20);
	assert.ok(refused > 0, "the kernel gave every count back at once, so this shows nothing");
});

test("EMFILE at every step is an error that names the step, and no descriptor is lost", { needs }, () => {
	// With 0, 1, 2 … free descriptors, the creation fails at another step each time, until there are enough.
	const { failures, successes, lost } = ask<{
		failures: { code: string; step: string; hint: string; errnoCode: string }[];
		successes: number;
		lost: number;
	}>(
		`import fs from "node:fs";
		userns.UserNamespace.createSync("0:100:1").close();
		await (await userns.UserNamespace.create("0:100:1")).close();
		const count = () => fs.readdirSync("/proc/self/fd").length;
		const before = count();
		const failures = []; let successes = 0;
		for (let left = 0; left < 10; left++) {
			const filler = [];
			try { for (;;) filler.push(fs.openSync("/dev/null")); } catch {}
			for (let i = 0; i < left; i++) fs.closeSync(filler.pop());
			for (const make of [() => userns.UserNamespace.createSync("0:100:1"), () => userns.UserNamespace.create("0:100:1")]) {
				try { (await make()).close(); successes++; } catch (e) { failures.push(e); }
			}
			for (const fd of filler) fs.closeSync(fd);
		}
		console.log(JSON.stringify({ failures, successes, lost: count() - before }));`,
		{ prefix: ["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"] },
	);
	assert.equal(lost, 0);
	assert.ok(successes >= 2);
	assert.ok(failures.length >= 4);
	for (const failure of failures) {
		assert.equal(failure.code, "ERR_USERNS_CREATE");
		assert.equal(failure.errnoCode, "EMFILE");
		assert.match(failure.hint, /RLIMIT_NOFILE/);
	}
	assert.ok(new Set(failures.map(({ step }) => step)).size >= 2, "several steps failed in turn");
});

test("EAGAIN from RLIMIT_NPROC is an error that names the limits", {
	needs: [...needs, "user", "tool:prlimit"],
}, () => {
	const error = ask<Record<string, string>>(
		`import { spawnSync } from "node:child_process";
		spawnSync("prlimit", ["--pid", String(process.pid), "--nproc=1:1"]);
		let error; try { userns.UserNamespace.createSync("u:0:" + process.getuid() + ":1"); } catch (e) { error = e; }
		console.log(JSON.stringify(error));`,
		{ uid: 54321, gid: 54321 },
	);
	assert.equal(error.code, "ERR_USERNS_CREATE");
	assert.equal(error.errnoCode, "EAGAIN");
	assert.equal(error.syscall, "clone");
	assert.match(error.hint ?? "", /RLIMIT_NPROC/);
});

test("EPERM in a chroot is an error that names the chroot", { needs: [...needs, "mounts"] }, () =>
	withTmpfs((folder) => {
		const [newRoot = ""] = mkdirs(folder, "root");
		sh("mount", "--rbind", "/", newRoot);
		const error = ask<Record<string, string>>(
			`console.log(JSON.stringify(await userns.UserNamespace.create("0:100000:10").catch((e) => e)));`,
			{ prefix: ["chroot", newRoot] },
		);
		assert.equal(error.code, "ERR_USERNS_CREATE");
		assert.equal(error.errnoCode, "EPERM");
		// Without the page with the state of the process, userns-join makes the namespace.
		assert.equal(error.syscall, reasonToSkip(["shared-page"]) === undefined ? "clone" : "unshare");
		assert.match(error.hint ?? "", /chroot/);
	}),
);

test("the maps reach the right process although a fake /proc is mounted", {
	needs: [...needs, "mounts", "tool:unshare"],
}, () => {
	// A tmpfs is on /proc. A caller that writes below it would write into another program's files. The package uses a
	// private procfs.
	const answer = ask<{ id: string }>(
		`import { spawnSync } from "node:child_process";
		spawnSync("mount", ["-t", "tmpfs", "lie", "/proc"]);
		const ns = userns.UserNamespace.createSync("0:100000:10");
		spawnSync("umount", ["/proc"]);
		console.log(JSON.stringify({ id: userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mappingSync().id }));`,
		{ prefix: ["unshare", "--mount", "--propagation", "private"] },
	);
	assert.equal(answer.id, "0:100000:10");
});

test("the maps reach the right process although /proc belongs to another pid namespace", {
	needs: [...needs, "tool:unshare"],
}, () => {
	// In a new pid namespace without a new /proc, where the pids in /proc are those of the outer namespace.
	const answer = ask<{ id: string; own: number }>(
		`const ns = await userns.UserNamespace.create("0:100000:10");
		console.log(JSON.stringify({ own: process.pid, id: userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mappingSync().id }));`,
		{ prefix: ["unshare", "--pid", "--fork"] },
	);
	assert.deepEqual(answer, { own: 1, id: "0:100000:10" });
});
