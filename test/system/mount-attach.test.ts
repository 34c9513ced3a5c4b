import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, constants, openSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Handles, type IdmappedMount, mountIdmapped } from "../../src/index.ts";
import { ask, sh } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
const MAP = "0:100000:65536";
const LONG = process.env.USERNS_LONG === "1";

test("a detached mount is attached once; a second attach fails and nothing moves", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", first = "", second = ""] = mkdirs(folder, "source", "first", "second");
		const mount = await mountIdmapped({ source, mapping: MAP });
		assert.equal(mount.target, undefined);
		await assert.rejects(
			mount.attach(join(folder, "none")),
			failure("ERR_USERNS_MOUNT", /opening the target: ENOENT/),
		);
		const two = await Promise.allSettled([mount.attach(first), mount.attach(second)]);
		assert.deepEqual(
			two.map(({ status }) => status),
			["fulfilled", "rejected"],
		);
		assert.equal(mount.target, first);
		await assert.rejects(
			mount.attach(second),
			failure("ERR_USERNS_ATTACHED", /is already attached at ".*first"/),
		);
		assert.equal(mountAt(first)?.id, mount.mountId);
		assert.equal(mountAt(second), undefined);
		assert.equal(statSync(first).uid, 100000);
		await mount.unmount();
		await assert.rejects(mount.attach(first), failure("ERR_USERNS_CLOSED", /closed/));

		// Another program got the descriptor and attached it.
		const given = await mountIdmapped({ source, mapping: MAP });
		ask(
			`import { createRequire } from "node:module";
			const addon = createRequire("/")(${JSON.stringify(new URL("../../../prebuilds/userns.linux-x64.node", import.meta.url).pathname.replace("linux-x64", `linux-${process.arch}`))});
			const out = await addon.attach(3, 0, -1, ${JSON.stringify(first)}, 0, false, false, ${1 << 18}, -1);
			addon.acknowledge(3);
			console.log(JSON.stringify(out.error));`,
			{ stdio: ["ignore", "pipe", "pipe", given.fd] },
		);
		assert.equal(mountAt(first)?.id, given.mountId);
		await assert.rejects(
			given.attach(second),
			failure("ERR_USERNS_ATTACHED", /is already attached at .*first/),
		);
		assert.equal(mountAt(first)?.id, given.mountId);
		given.close();
		sh("umount", first);
	}),
);

test("unmount during attach waits for it; close during attach leaves the mount", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const mount = await mountIdmapped({ source, mapping: MAP });
		const attaching = mount.attach(target);
		await mount.unmount();
		await attaching;
		assert.equal(mountAt(target), undefined);
		const left = await mountIdmapped({ source, mapping: MAP });
		const under = left.attach(target);
		left.close();
		await under;
		assert.equal(mountAt(target)?.id, left.mountId);
		sh("umount", target);
	}),
);

test("the target may be a descriptor, and swapping its name meanwhile changes nothing", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const fd = openSync(target, constants.O_RDONLY | constants.O_DIRECTORY);
		sh("mv", target, `${target}-moved`);
		sh("mkdir", target);
		const mount = await mountIdmapped({ source, target: fd, mapping: MAP });
		closeSync(fd);
		assert.equal(mountAt(`${target}-moved`)?.id, mount.mountId);
		assert.equal(mountAt(target), undefined);
		await mount.unmount();
		await assert.rejects(
			mountIdmapped({ source, target: 987654, mapping: MAP }),
			failure("ERR_USERNS_MOUNT", /opening the target: EBADF/),
		);
		const file = join(folder, "file");
		writeFileSync(file, "");
		const onFile = openSync(file, constants.O_RDONLY);
		const single = await mountIdmapped({ source: file, target: onFile, mapping: MAP });
		assert.equal(statSync(file).uid, 100000);
		await single.unmount();
		closeSync(onFile);
	}),
);

/** Looks for target/marker in a loop while the body runs. Counts how often it was missing, and how often it looked. */
async function misses(target: string, body: () => Promise<void>): Promise<{ missed: number; looks: number }> {
	const watcher = spawn(
		process.execPath,
		[
			"-e",
			`const fs = require("fs"); let missed = 0, looks = 0, stop = false;
			process.stdin.on("end", () => { stop = true; }).resume();
			process.stdout.write("ready\\n");
			(function look() {
				for (let i = 0; i < 500; i++) { looks++; if (!fs.existsSync(process.argv[1])) missed++; }
				if (stop) process.stdout.write(JSON.stringify({ missed, looks })); else setImmediate(look);
			})();`,
			join(target, "marker"),
		],
		{ stdio: ["pipe", "pipe", "inherit"] },
	);
	let said = "";
	watcher.stdout.setEncoding("utf8").on("data", (text: string) => {
		said += text;
	});
	await once(watcher.stdout, "data");
	await body();
	watcher.stdin.end();
	await once(watcher, "close");
	return JSON.parse(said.replace("ready\n", ""));
}

test(
	"replace exchanges the mount at the target, and the target is never bare",
	{ needs: [...needs, "linux:6.5"] },
	() =>
		withTmpfs(async (folder) => {
			const [one = "", two = "", target = ""] = mkdirs(folder, "one", "two", "target");
			for (const source of [one, two]) writeFileSync(join(source, "marker"), "");
			const handles = new Handles();
			const rounds = LONG ? 5000 : 300;
			let there: IdmappedMount = await mountIdmapped({ source: one, target, mapping: MAP, handles });
			const { missed, looks } = await misses(target, async () => {
				for (let i = 0; i < rounds; i++) {
					const source = i % 2 === 0 ? two : one;
					const next = await mountIdmapped({ source, target, mapping: MAP, handles, replace: true });
					assert.equal(mountAt(target)?.id, next.mountId);
					await there.unmount(); // it is gone already, which is no error
					there = next;
				}
			});
			assert.equal(missed, 0);
			assert.ok(looks > rounds, `${looks} looks`);
			await there.unmount();
			assert.equal(mountAt(target), undefined);

			// The control: unmounting the old one first does leave the target bare.
			const control = await misses(target, async () => {
				for (let i = 0; i < rounds; i++) {
					const mount = await mountIdmapped({ source: one, target, mapping: MAP, handles });
					await mount.unmount();
				}
			});
			assert.ok(control.missed > 0);
			handles.release();
		}),
);

test(
	"replace exchanges a whole tree, and any type of file system, and attaches where no mount is",
	{
		needs: [...needs, "linux:6.5"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = "", bare = "", deep = ""] = mkdirs(
				folder,
				"source",
				"target",
				"bare",
				"source/deep",
			);
			sh("mount", "-t", "tmpfs", "deep", deep);
			sh("mount", "-t", "tmpfs", "old", target);
			sh("mount", "-t", "tmpfs", "below", mkdirs(target, "below")[0] as string);
			const mount = await mountIdmapped({ source, target, mapping: MAP, recursive: true, replace: true });
			assert.equal(mountAt(target)?.id, mount.mountId);
			assert.ok(mountAt(join(target, "deep"))?.options.includes("idmapped"));
			assert.equal(mountAt(join(target, "below")), undefined);
			assert.deepEqual(mountAt(target)?.optional, []);
			await mount.unmount();
			assert.equal(mountAt(target), undefined);
			const plain = await mountIdmapped({ source, target: bare, mapping: MAP, replace: true });
			assert.equal(mountAt(bare)?.id, plain.mountId);
			await plain.unmount();
			sh("umount", deep);

			// A refused replace leaves the old mount.
			writeFileSync(join(source, "file"), "");
			sh("mount", "-t", "tmpfs", "old", target);
			const before = readFileSync("/proc/self/mountinfo", "utf8");
			await assert.rejects(
				mountIdmapped({ source: join(source, "file"), target, mapping: MAP, replace: true }),
				failure("ERR_USERNS_MOUNT", /attaching the mount beneath the old one/),
			);
			assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
			sh("umount", target);
		}),
);

test(
	"a mount that replaces another under a shared parent is private too",
	{ needs: [...needs, "linux:6.5"] },
	() =>
		withTmpfs(async (folder) => {
			const [source = "", parent = ""] = mkdirs(folder, "source", "parent");
			sh("mount", "-t", "tmpfs", "parent", parent);
			sh("mount", "--make-shared", parent);
			const [target = "", peer = ""] = mkdirs(folder, "parent/target", "peer");
			sh("mount", "--bind", parent, peer);
			sh("mount", "-t", "tmpfs", "old", target);
			const there = join(peer, "target");
			assert.ok(mountAt(there), "the old mount is received by the peer");
			const mount = await mountIdmapped({ source, target, mapping: MAP, replace: true });
			assert.equal(mountAt(target)?.id, mount.mountId);
			assert.deepEqual(mountAt(target)?.optional, []);
			// The peer has the new mount in place of the old one, and not beneath it.
			const received = readFileSync("/proc/self/mountinfo", "utf8")
				.split("\n")
				.filter((line) => line.split(" ")[4] === there);
			assert.equal(received.length, 1, received.join("\n"));
			assert.match(received[0] ?? "", /idmapped/);
			await mount.unmount();
			assert.equal(mountAt(target), undefined);
			assert.equal(mountAt(there), undefined);
			sh("umount", peer);
			sh("umount", parent);
		}),
);

test("options that cannot be used together throw before any system call", async () => {
	const source = "/definitely/not/there";
	const cases: [object, RegExp][] = [
		[{ replace: true }, /replace needs a target/],
		[{ into: 1 }, /into needs a target/],
		[{ targetRoot: "/" }, /targetRoot needs a target/],
		[{ target: 3, targetRoot: "/" }, /targetRoot needs a target that is a path/],
		[{ target: "/x", targetRoot: "/", into: 1 }, /targetRoot and into cannot be used together/],
		[{ target: "/x", into: 0 }, /into must be a pid/],
		[{ target: "/x", into: 1.5 }, /into must be a pid/],
		[{ target: "/x", into: "" }, /into must be a path/],
		[{ target: "/x", resolve: "beneath" }, /unknown resolve "beneath"/],
		[{ target: "/x", replace: 1 }, /replace must be true or false/],
		[{ target: "/x", targetRoot: -1 }, /targetRoot must be a path or a descriptor/],
		[{ nested: "stack" }, /unknown nested "stack"/],
		[{ skipUnsupported: true }, /skipUnsupported needs recursiveIdmap/],
		[
			{ recursive: true, recursiveIdmap: false, skipUnsupported: true },
			/skipUnsupported needs recursiveIdmap/,
		],
		[{ unmap: true }, /unmap and mapping cannot be used together/],
	];
	for (const [options, message] of cases) {
		await assert.rejects(
			mountIdmapped({ source, mapping: MAP, ...options } as Parameters<typeof mountIdmapped>[0]),
			failure("ERR_USERNS_INVALID_ARGUMENT", message),
		);
	}
});

test("a change of the options object during the call has no effect", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = ""] = mkdirs(folder, "source", "one/spot", "two/spot");
		const options = {
			...{ source, target: "/spot", targetRoot: join(folder, "one"), mapping: "0:1:1" },
			replace: false,
		};
		const other = { targetRoot: join(folder, "two"), target: "/none", source: "/none", replace: "wrong" };
		const mounting = mountIdmapped(options);
		Object.assign(options, other);
		const mount = await mounting;
		assert.ok(mountAt(join(folder, "one/spot")));
		assert.equal(mountAt(join(folder, "two/spot")), undefined);
		await mount.unmount();
		const detached = await mountIdmapped({ source, mapping: "0:1:1" });
		const attachOptions = { targetRoot: join(folder, "one"), replace: false };
		const attaching = detached.attach("/spot", attachOptions);
		Object.assign(attachOptions, other);
		await attaching;
		assert.ok(mountAt(join(folder, "one/spot")));
		await detached.unmount();
	}),
);

test("unmount() followed by attach(), in any order, leaves nothing attached", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const first = await mountIdmapped({ source, mapping: "0:1:1" });
		const gone = first.unmount();
		await assert.rejects(first.attach(target), failure("ERR_USERNS_CLOSED", /closed/));
		await gone;
		const second = await mountIdmapped({ source, mapping: "0:1:1" });
		const again = second.attach(join(folder, "none")).catch(() => second.attach(target));
		await Promise.allSettled([second.unmount(), again]);
		assert.equal(mountAt(target), undefined);
	}),
);

test("a path that is too long for the kernel throws before any system call", async () => {
	const long = `/${"a/".repeat(3000)}`;
	const refused = failure("ERR_USERNS_INVALID_ARGUMENT", /6001 bytes/);
	const mapping = "0:1:1";
	await assert.rejects(mountIdmapped({ source: long, mapping }), refused);
	for (const options of [{ target: long }, { target: "/", targetRoot: long }, { target: "/", into: long }]) {
		await assert.rejects(mountIdmapped({ source: "/", mapping, ...options }), refused);
	}
});
