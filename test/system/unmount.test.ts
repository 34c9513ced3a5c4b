import assert from "node:assert/strict";
import {
	chmodSync,
	chownSync,
	closeSync,
	mkdirSync,
	openSync,
	readdirSync,
	readFileSync,
	rmSync,
	symlinkSync,
} from "node:fs";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { join } from "node:path";
import { mountIdmapped, overlay, type UsernsError, unmount, unmountAsync } from "../../src/index.ts";
import { recordedMounts, recordMount, removeRecord } from "../../src/mount/records.ts";
import { stackedOn, stackedUnder, uncover } from "../../src/mount/stack.ts";
import { native } from "../../src/native/addon.ts";
import { runSync } from "../../src/native/operation.ts";
import { sh, userns } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
const FOREIGN = failure("ERR_USERNS_UNMOUNT", /it is not a mount of this package, but a mount of/);

/** The mount IDs at a path, the lowest first. */
function stackAt(path: string, table = readFileSync("/proc/self/mountinfo", "utf8")): number[] {
	const fields = table.split("\n").map((line) => line.split(" "));
	return fields.filter((field) => field[4] === path).map(([id]) => Number(id));
}

test(
	"unmount removes an overlay of this package by its path, from another process too, and refuses other overlays",
	{
		needs: [...needs, "fs:overlay"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [one = "", two = "", target = "", upper = "", work = ""] = mkdirs(
				folder,
				"one",
				"two",
				"target",
				"upper",
				"work",
			);
			const make = async () => {
				(await overlay({ lower: [one, two], target, mapping: "0:100000:10" })).close();
				assert.equal(mountAt(target)?.type, "overlay");
			};
			await make();
			assert.deepEqual(unmount(target), { path: target, kind: "overlay" });
			assert.equal(mountAt(target), undefined);
			await make();
			const { status, stdout } = userns("umount", target);
			assert.deepEqual([status, stdout], [0, `overlay unmounted from ${target}\n`]);
			assert.equal(mountAt(target), undefined);
			sh(
				"mount",
				"-t",
				"overlay",
				"-o",
				`lowerdir=${one},upperdir=${upper},workdir=${work}`,
				"overlay",
				target,
			);
			assert.throws(() => unmount(target), FOREIGN);
			assert.throws(() => unmount(target, { recursive: true }), FOREIGN);
			assert.equal(mountAt(target)?.type, "overlay");
		}),
);

/** With a /run of its own, which ends with the body. */
async function withRun(body: () => Promise<void>): Promise<void> {
	sh("mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run");
	try {
		await body();
	} finally {
		sh("umount", "/run");
	}
}

test(
	"unmount removes a mount without a map only if its unique ID is recorded where only root can write",
	{
		needs: [...needs, "linux:6.15"],
	},
	() =>
		withTmpfs((folder) =>
			withRun(async () => {
				const [source = "", mapped = "", target = "", other = ""] = mkdirs(
					folder,
					"source",
					"mapped",
					"target",
					"other",
				);
				const outer = await mountIdmapped({ source, target: mapped, mapping: "0:100000:10" });
				chmodSync("/run", 0o1777);
				const silent = userns("mount", "--unmap", mapped, other);
				assert.equal(silent.status, 0);
				const warning =
					/^userns: The mount without a map at ".*\/other" is not recorded, .* umount\(8\): .*\n$/;
				assert.match(silent.stderr, warning);
				assert.equal(userns("umount", other).status, 1);
				sh("umount", other);
				chmodSync("/run", 0o755);
				const plain = await mountIdmapped({ source: mapped, target, unmap: true });
				const facts = native().mountIds(plain.fd);
				assert.ok(typeof facts !== "number");
				plain.close();
				sh("mount", "--bind", source, other);
				const [, unique] = facts;
				removeRecord(unique); // from here on as if another process had made it
				assert.throws(() => unmount(target), FOREIGN);
				assert.equal(userns("umount", target).status, 1);
				recordMount(unique, target);
				const [name = ""] = readdirSync("/run/userns");
				const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
				assert.equal(name, `${boot}-${unique}`);
				// Only that very mount.
				assert.throws(() => unmount(other), FOREIGN);
				const refused = () => assert.equal(userns("umount", target).status, 1);
				chmodSync("/run/userns", 0o777);
				refused();
				chmodSync("/run/userns", 0o755);
				chownSync("/run/userns", 54321, 0);
				refused();
				chownSync("/run/userns", 0, 0);
				chmodSync("/run", 0o777);
				refused();
				chmodSync("/run", 0o755);
				sh("mv", "/run/userns", "/run/elsewhere");
				symlinkSync("elsewhere", "/run/userns");
				refused();
				rmSync("/run/userns");
				sh("mv", "/run/elsewhere", "/run/userns");
				assert.ok(mountAt(target));
				const { status, stdout } = userns("umount", target);
				assert.deepEqual([status, stdout], [0, `mount without a map unmounted from ${target}\n`]);
				assert.equal(mountAt(target), undefined);
				assert.deepEqual(readdirSync("/run/userns"), [], "the record went with it");
				removeRecord(unique);
				assert.equal(recordedMounts().has(unique), false);
				// The record is of an earlier boot.
				closeSync(openSync(`/run/userns/00000000-0000-0000-0000-000000000000-${unique}`, "w"));
				assert.equal(recordedMounts().size, 0);
				await outer.unmount();
			}),
		),
);

test(
	"recursive also unmounts the mounts stacked on it, from the top down, and none beneath it",
	{ needs },
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			mkdirs(source, "below");
			sh("mount", "-t", "tmpfs", "beneath", target);
			const [beneath] = stackAt(target);
			const cover = () => {
				sh("mount", "-t", "tmpfs", "below", join(target, "below"));
				for (const name of ["on", "top"]) sh("mount", "-t", "tmpfs", name, target);
				mkdirSync(join(target, "in"));
				sh("mount", "-t", "tmpfs", "in", join(target, "in"));
			};
			for (const call of [unmount, unmountAsync]) {
				(await mountIdmapped({ source, target, mapping: "0:100000:10" })).close();
				cover();
				assert.equal(stackAt(target).length, 4);
				const table = readFileSync("/proc/self/mountinfo", "utf8");
				await assert.rejects(async () => call(target), FOREIGN);
				assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), table);
				assert.deepEqual(await call(target, { recursive: true }), { path: target, kind: "idmapped mount" });
				assert.deepEqual(stackAt(target), [beneath]);
				assert.deepEqual([stackAt(join(target, "below")), stackAt(join(target, "in"))], [[], []]);
			}
			// No mount of this package is in the stack, so nothing is unmounted.
			sh("mount", "-t", "tmpfs", "foreign", target);
			assert.throws(() => unmount(target, { recursive: true }), FOREIGN);
			assert.equal(stackAt(target).length, 2);
			sh("umount", target);
			// By a descriptor of the mount, because a path cannot reach it while it is covered.
			const mount = await mountIdmapped({ source, target, mapping: "0:100000:10" });
			cover();
			assert.throws(
				() => unmount(`/proc/self/fd/${mount.fd}`),
				(error: UsernsError) => error.code === "ERR_USERNS_UNMOUNT",
			);
			assert.equal(stackAt(target).length, 4);
			assert.equal(unmount(`/proc/self/fd/${mount.fd}`, { recursive: true }).kind, "idmapped mount");
			assert.deepEqual(stackAt(target), [beneath]);
			mount.close();
			const again = await mountIdmapped({ source, target, mapping: "0:100000:10" });
			cover();
			runSync(uncover({ fd: again.fd, mountId: again.mountId, uniqueId: 0 }, undefined, ""));
			assert.deepEqual(stackAt(target), [beneath, again.mountId]);
			sh("umount", join(target, "below"));
			await again.unmount();
			assert.deepEqual(stackAt(target), [beneath]);
		}),
);

test(
	"recursive reads the records of mounts once for each mount that it unmounts, however many there are",
	{
		needs,
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			(await mountIdmapped({ source, target, mapping: "0:100000:10" })).close();
			const count = 20;
			for (let i = 0; i < count; i++) sh("mount", "-t", "tmpfs", `top${i}`, target);
			const fs = createRequire(import.meta.url)("node:fs");
			const read = fs.lstatSync;
			let reads = 0;
			fs.lstatSync = (path: string, options: undefined) => {
				if (path === "/run") reads++;
				return read(path, options);
			};
			syncBuiltinESMExports();
			try {
				await unmountAsync(target, { recursive: true });
			} finally {
				fs.lstatSync = read;
				syncBuiltinESMExports();
			}
			assert.deepEqual(stackAt(target), []);
			assert.ok(reads <= count + 1, `${reads} reads`);
		}),
);

test(
	"a container's root cannot keep a volume by mounting over it",
	{ needs: [...needs, "tool:unshare", "tool:nsenter"] },
	() =>
		withTmpfs(async (folder) => {
			const [source = ""] = mkdirs(folder, "source");
			for (const mapping of [undefined, "0:100000:65536"]) {
				const container = await startContainer(folder, "pivot", mapping);
				try {
					const into = container.pid;
					(await mountIdmapped({ source, target: "/data", mapping: "0:1:1", into })).close();
					const table = () => readFileSync(`/proc/${into}/mountinfo`, "utf8");
					const inside =
						mapping === undefined ? ["--mount"] : ["--mount", "--user", "--setuid", "0", "--setgid", "0"];
					for (const name of ["on", "top"])
						sh("nsenter", "-t", `${into}`, ...inside, "mount", "-t", "tmpfs", name, "/data");
					assert.equal(stackAt("/data", table()).length, 3);
					assert.throws(() => unmount("/data", { into }), FOREIGN);
					assert.deepEqual(unmount("/data", { into, recursive: true }), {
						path: "/data",
						kind: "idmapped mount",
					});
					assert.deepEqual(stackAt("/data", table()), []);
				} finally {
					await container.end();
				}
			}
		}),
);

test("stackedOn and stackedUnder return the mounts on a mount and beneath it at the same path", () => {
	const entry = (id: number, parent: number, mountPoint: string) => ({
		id,
		parent,
		mountPoint,
		device: "0:1",
		root: "/",
		options: [],
		fsType: "tmpfs",
		source: "",
		unbindable: false,
		shared: false,
	});
	// A child can come before its parent, and 7 is its own parent, as in a damaged table.
	const entries = [
		entry(5, 4, "/a"),
		entry(1, 0, "/"),
		entry(3, 1, "/a"),
		entry(4, 3, "/a"),
		entry(6, 4, "/a/b"),
		entry(7, 7, "/c"),
	];
	const ids = (list: readonly { id: number }[]) => list.map(({ id }) => id);
	assert.deepEqual(ids(stackedOn(entries, 3)), [4, 5]);
	assert.deepEqual(ids(stackedOn(entries, 5)), []);
	assert.deepEqual(ids(stackedOn(entries, 1)), []);
	assert.deepEqual(ids(stackedOn(entries, 9)), []);
	assert.deepEqual(ids(stackedUnder(entries, 5)), [4, 3]);
	assert.deepEqual(ids(stackedUnder(entries, 6)), []);
	assert.deepEqual([ids(stackedOn(entries, 7)), ids(stackedUnder(entries, 7))], [[], []]);
});
