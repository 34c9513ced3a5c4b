import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fromOci, Handles, mountIdmapped, overlay, unmount } from "../../src/index.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

// With into, the host never sees a mount. Therefore this process's own mount namespace is an error, by whatever path.

const needs = ["linux", "root", "mounts"] as const;
const MAP = "0:100000:65536";
const OWN = failure("ERR_USERNS_MOUNT_NAMESPACE", /it is the mount namespace of this process/);

function mountsOf(pid: number | "self"): string {
	return readFileSync(`/proc/${pid}/mountinfo`, "utf8");
}

async function end(child: ChildProcess): Promise<void> {
	const closed = once(child, "close");
	child.kill("SIGKILL");
	await closed;
}

test(
	"into this process's own mount namespace is refused by every function, and nothing is mounted",
	{ needs },
	() =>
		withTmpfs(async (folder) => {
			const [source = "", second = "", target = ""] = mkdirs(folder, "source", "second", "target");
			const child = spawn("sleep", ["1000"], { stdio: "ignore" });
			// The kernel does not mount a namespace on a file of itself, so this is a link.
			const link = join(folder, "link");
			symlinkSync(`/proc/${process.pid}/ns/mnt`, link);
			const mounted = await mountIdmapped({ source, target, mapping: MAP });
			const held = await mountIdmapped({ source, mapping: MAP });
			const entry = fromOci({ source, destination: target, options: ["bind", "idmap"] }, { container: MAP });
			try {
				const before = mountsOf("self");
				for (const into of [
					child.pid as number,
					process.pid,
					`/proc/${child.pid}/ns/mnt`,
					"/proc/self/ns/mnt",
					"/proc/thread-self/ns/mnt",
					link,
				]) {
					const message = String(into);
					await assert.rejects(mountIdmapped({ source, target, mapping: MAP, into }), OWN, message);
					await assert.rejects(mountIdmapped({ ...entry, into }), OWN, message);
					await assert.rejects(held.attach(target, { into }), OWN, message);
					await assert.rejects(
						overlay({ lower: [source, second], target, mapping: MAP, into }),
						OWN,
						message,
					);
					assert.throws(() => unmount(target, { into }), OWN, message);
					assert.equal(mountsOf("self"), before, message);
				}
			} finally {
				held.close();
				await mounted.unmount();
				await end(child);
			}
		}),
);

test(
	"into, targetRoot and resolve that are undefined are refused by every function, and nothing is mounted",
	{
		needs,
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", second = "", target = ""] = mkdirs(folder, "source", "second", "target");
			const held = await mountIdmapped({ source, mapping: MAP });
			const before = mountsOf("self");
			for (const name of ["into", "targetRoot", "resolve"]) {
				const given = { [name]: undefined };
				const refused = failure(
					"ERR_USERNS_INVALID_ARGUMENT",
					new RegExp(`: ${name} is present but undefined`),
				);
				await assert.rejects(mountIdmapped({ source, target, mapping: MAP, ...given }), refused);
				await assert.rejects(held.attach(target, given), refused);
				await assert.rejects(overlay({ lower: [source, second], target, mapping: MAP, ...given }), refused);
				assert.equal(mountsOf("self"), before, name);
			}
			await assert.rejects(
				mountIdmapped({ source, target, mapping: MAP, from: undefined } as never),
				failure("ERR_USERNS_INVALID_ARGUMENT", /: from is present but undefined/),
			);
			assert.equal(mountsOf("self"), before);
			held.close();
			const mounted = await mountIdmapped({ source, target, mapping: MAP });
			const refused = failure("ERR_USERNS_INVALID_ARGUMENT", /unmount: into is present but undefined/);
			assert.throws(() => unmount(target, { into: undefined } as object), refused);
			await mounted.unmount();
		}),
);

test(
	"into a child just after spawn with unshare mounts in the child's namespace or fails, and never mounts here",
	{
		needs,
		timeout: 120_000,
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			const handles = new Handles();
			const namespace = handles.getSync(MAP);
			// The map's namespace is cached, so the mount follows within microseconds.
			handles.getSync("0:5:1").close();
			try {
				for (let i = 0; i < 60; i++) {
					const before = mountsOf("self");
					const child = namespace.spawn("cat", { unshare: ["mount"], stdio: ["pipe", "pipe", "inherit"] });
					try {
						const into = child.pid as number;
						const options = { source, target, mapping: "0:5:1", handles, into };
						const early = await mountIdmapped(options).catch((error: unknown) => error);
						assert.equal(mountsOf("self"), before, `try ${i}`);
						if (early instanceof Error) {
							// The pid gives another error for a moment, because a process that is in execve(2) cannot
							// be inspected. The hint applies: the program has written something.
							child.stdin?.write("x");
							await once(child.stdout as NonNullable<typeof child.stdout>, "data");
							(await mountIdmapped(options)).close();
						} else {
							(early as Awaited<ReturnType<typeof mountIdmapped>>).close();
						}
						assert.match(mountsOf(into), new RegExp(` ${target} .*idmapped`));
						assert.equal(mountsOf("self"), before, `try ${i}`);
					} finally {
						await end(child);
					}
				}
			} finally {
				namespace.close();
				handles.release();
			}
		}),
);
