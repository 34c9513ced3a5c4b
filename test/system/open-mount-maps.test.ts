import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, closeSync, openSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { Mapping, mountIdmapped } from "../../src/index.ts";
import { mapOf } from "../../src/mount/held-maps.ts";
import { root, sh } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { olderThan } from "../support/needs.ts";
import { test } from "../support/test.ts";

// The map of a mount that statmount(2) does not find by its ID: unmounted, detached, or in another mount namespace.

const needs = ["linux", "root", "mounts", "linux:6.15"] as const;
const MAP = "u:0:100000:65536,g:0:200000:65536";
const old = olderThan("7.0");

/** A detached mount of another process, opened here by the name of its descriptor. `map` "" makes a mount without a map. */
async function foreign(source: string, map: string, body: (fd: number) => Promise<void>): Promise<void> {
	const index = pathToFileURL(join(root, "dist/src/index.js")).href;
	const make = map === "" ? "{ source, unmap: true }" : "{ source, mapping }";
	const script = `const { mountIdmapped } = await import(${JSON.stringify(index)});
		const [source, mapping] = process.argv.slice(1);
		const mount = await mountIdmapped(${make});
		console.log(mount.fd);
		process.stdin.resume();`;
	const args = ["--input-type=module", "-e", script, source, map];
	const child = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
	try {
		const [line] = await once(child.stdout, "data");
		const fd = openSync(`/proc/${child.pid}/fd/${Number(line)}`, "r");
		try {
			await body(fd);
		} finally {
			closeSync(fd);
		}
	} finally {
		const closed = once(child, "close");
		child.kill("SIGKILL");
		await closed;
	}
}

test("the map of an open mount is known after the mount was unmounted", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = "", other = ""] = mkdirs(folder, "source", "target", "other");
		const mount = await mountIdmapped({ source, target, mapping: MAP });
		mount.close(); // so that this process does not know the map
		const fd = openSync(target, "r");
		sh("mount", "--bind", source, other);
		const plain = openSync(other, "r");
		try {
			assert.equal(String(mapOf(fd, undefined)), MAP);
			assert.equal(mapOf(plain, undefined), undefined);
			sh("umount", "--lazy", target);
			sh("umount", "--lazy", other);
			assert.equal(mountAt(target), undefined);
			if (old === undefined) {
				assert.equal(String(mapOf(fd, undefined)), MAP);
				assert.equal(mapOf(plain, undefined), undefined);
			} else {
				assert.match(String(mapOf(fd, undefined)), /^map unknown: .*Linux 7\.0/);
			}
		} finally {
			closeSync(fd);
			closeSync(plain);
		}
	}),
);

test("nested composes with a detached mount of another process since Linux 7.0", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		writeFileSync(join(source, "file"), "");
		chownSync(join(source, "file"), 5, 6);
		const second = Mapping.from("u:100005:70000:1,g:200006:80000:1");
		await foreign(source, MAP, async (fd) => {
			if (old !== undefined) {
				assert.match(String(mapOf(fd, undefined)), /^map unknown: .*Linux 7\.0/);
				await assert.rejects(
					mountIdmapped({ source: fd, target, mapping: second }),
					failure("ERR_USERNS_MOUNT", /its map cannot be composed with another: map unknown/),
				);
				assert.equal(mountAt(target), undefined);
				return;
			}
			assert.equal(String(mapOf(fd, undefined)), MAP);
			const mount = await mountIdmapped({ source: fd, target, mapping: second });
			assert.equal(mount.mapping.id, "u:5:70000:1,g:6:80000:1");
			const { uid, gid } = statSync(join(target, "file"));
			assert.deepEqual([uid, gid], [70000, 80000]);
			await mount.unmount();
		});
		if (old === undefined) {
			await foreign(source, "", async (fd) => assert.equal(mapOf(fd, undefined), undefined));
		}
	}),
);
