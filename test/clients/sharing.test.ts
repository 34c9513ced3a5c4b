import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Handles, mountIdmapped } from "../../src/index.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { Container, joining, type Runtime } from "../support/oci.ts";
import { makeBundle, owner, words } from "../support/oci-tests.ts";
import { emptied, processesIn } from "../support/private-mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "busybox"] as const;
const MAP = "0:100000:65536";

/** Waits at most ten seconds for a file, and returns its owner. */
const SEE =
	'see() { n=0; until [ -e "$1" ] || [ $n = 200 ]; do n=$((n+1)); usleep 50000; done; stat -c "%n %u:%g" "$1"; }';
const LOOK = `${SEE}; readlink /proc/self/ns/user`;

async function output(child: ChildProcess): Promise<string[]> {
	let said = "";
	child.stdout?.on("data", (chunk) => {
		said += chunk;
	});
	const [status] = await once(child, "close");
	assert.equal(status, 0);
	return words(said);
}

/** Returns nothing if the process ended meanwhile. */
function pidNamespace(pid: string): string[] {
	try {
		return [readlinkSync(`/proc/${pid}/ns/pid`)];
	} catch {
		return [];
	}
}

for (const [first, second] of [
	["crun", "runc"],
	["crun", "crun"],
] as [Runtime, Runtime][]) {
	test(
		`${first} and ${second} run in one namespace of a Handles, and see the same owners of each other's files`,
		{
			needs: [...needs, `tool:${first}`, `tool:${second}`],
		},
		() =>
			withTmpfs(async (folder) => {
				const [one = "", two = ""] = mkdirs(folder, "one", "two");
				const { disk, data, volume } = makeBundle(folder);
				const handles = new Handles();
				// Two callers of one cache, with two spellings of one mapping.
				const a = await handles.get(MAP);
				const b = await handles.get("0:100000:1000,1000:101000:64536");
				assert.equal(handles.size, 1);
				assert.notEqual(a.fd, b.fd);
				const mount = await mountIdmapped({ source: data, target: volume, mapping: "1000:100000:10" });
				const roots = [];
				for (const bundle of [one, two]) {
					const [rootfs = ""] = mkdirs(bundle, "rootfs");
					roots.push(await mountIdmapped({ source: disk, target: rootfs, mapping: MAP, handles }));
				}
				const containers = [
					new Container(first, one, {
						script: `${LOOK}; touch /data/a; chown 7:8 /data/a; touch /data/a-is-there; see /data/b; see /data/end`,
						...joining(first, join(one, "userns"), a.fd, MAP),
						volume,
					}),
					new Container(second, two, {
						script: `${LOOK}; see /data/a-is-there; see /data/a; touch /data/b; see /data/end; chown 3 /data/a`,
						...joining(second, join(two, "userns"), b.fd, MAP),
						volume,
					}),
				];
				const namespace = `user:[${a.inode}]`;
				try {
					const children = containers.map((container) => container.start());
					const outputs = children.map(output);
					// Both run at once, in their own pid namespaces and one user namespace, until the test ends them.
					while (!existsSync(join(data, "b")) && children.every(({ exitCode }) => exitCode === null)) {
						await sleep(10);
					}
					assert.equal(new Set(processesIn(a.inode).flatMap(pidNamespace)).size, 2);
					writeFileSync(join(data, "end"), "");
					const [of1, of2] = await Promise.all(outputs);
					// The host's root creates "end", and has no ID in the containers' volume.
					assert.deepEqual(of1, [namespace, "/data/b 0:0", "/data/end 65534:65534"]);
					assert.deepEqual(of2, [namespace, "/data/a-is-there 0:0", "/data/a 7:8", "/data/end 65534:65534"]);
					assert.equal(owner(join(data, "a")), "1003:1008");
					assert.equal(owner(join(data, "b")), "1000:1000");
				} finally {
					for (const container of containers) assert.deepEqual(await container.remove(), []);
					for (const mounted of [mount, ...roots]) await mounted.unmount();
					assert.deepEqual(await emptied(a.inode), []);
					for (const held of [a, b]) held.close();
					handles.release();
				}
			}),
	);
}
