import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const MAP = "0:100000:65536";

/**
 * What runs before the command: when the command reads its arguments, which is after Node has loaded it, every object
 * inherits all of these.
 */
function polluting(values: Record<string, unknown>): string {
	const code = `const values = ${JSON.stringify(values)};
		const argv = process.argv;
		Object.defineProperty(process, "argv", { __proto__: null, configurable: true, get() {
			if (/userns-(all|exec)\\.cjs/.test(new Error().stack)) {
				Object.defineProperty(process, "argv", { __proto__: null, value: argv });
				for (const name in values) Object.prototype[name] = values[name];
			}
			return argv;
		} });`;
	return `data:text/javascript,${encodeURIComponent(code)}`;
}

test(
	"Object.prototype: the attacker's options change nothing that a command does or prints",
	{
		needs: ["linux", "root", "mounts", "tool:unshare"],
		timeout: 120_000,
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = "", elsewhere = ""] = mkdirs(folder, "source", "target", "elsewhere");
			const pinned = join(folder, "pinned");
			const container = await startContainer(folder, "pivot");
			try {
				const evil = {
					...{
						map: "0:500000:5",
						unmap: true,
						nested: "refuse",
						recursive: true,
						mapRootOnly: true,
						into: container.pid,
					},
					...{
						skipUnsupported: true,
						targetRoot: elsewhere,
						resolve: "no-symlinks",
						replace: true,
						readOnly: true,
					},
					...{ readonly: true, nosuid: true, nodev: true, noexec: true, nosymfollow: true, nodiratime: true },
					...{
						atime: "noatime",
						propagation: "shared",
						json: true,
						all: true,
						pid: container.pid,
						at: elsewhere,
					},
					...{
						setgroups: "allow",
						method: "newuidmap",
						in: "1",
						uid: 7,
						gid: 7,
						groups: [7],
						unshare: ["net"],
					},
					...{ env: { EVIL: "1" }, argv0: "evil", shell: "/bin/echo", cwd: elsewhere, stdio: "ignore" },
					...{
						from: "podman",
						parent: "0:5:5",
						rootless: true,
						container: "0:5:5",
						user: "evil",
						to: "proc",
						svg: "-",
						as: "7",
						chownTo: "7",
						wide: true,
					},
					...{ columns: ["id"], owner: 7, wide: true },
					...{ reverse: true, keepId: true, userns: 5, handles: 5, recursiveIdmap: true, idmapped: true },
				};
				const wrong = Object.fromEntries(Object.keys(evil).map((name) => [name, { evil: 1 }]));
				const command = join(root, "dist/src/cli/userns.js");
				const run = (values: Record<string, unknown>, args: readonly string[]) => {
					const node = ["--import", polluting(values), command, ...args];
					const { status, stdout, stderr } = spawnSync(process.execPath, node, { encoding: "utf8" });
					const mounts = ["self", container.pid].map((pid) =>
						readFileSync(`/proc/${pid}/mountinfo`, "utf8")
							.split("\n")
							.filter((line) => line.includes(folder))
							.map((line) =>
								line
									.replace(/:\[\d+\]/, "")
									.split(" ")
									.slice(3),
							),
					);
					return {
						status,
						// What is not seen, and the mounts with the same map, depend on the other processes of the machine.
						stdout: stdout
							.replaceAll(/\b4026\d{6}\b|(?<=id +)\d+/g, "N")
							.replaceAll(/^(?:not seen|mounts) .*\n/gm, ""),
						stderr: stderr.replaceAll(/^not seen: .*\n/gm, ""),
						mounts,
					};
				};
				/** In this order: each takes away what the one before it has made. */
				const calls: string[][] = [
					["mount", "--map", MAP, source, target],
					["mounts"],
					["umount", target],
					["mount", source, target],
					["supports", source],
					["explain", source],
					["create", "--map", MAP, "--at", pinned],
					["show", pinned],
					["ls", "--pid", `${container.pid}`, "--columns", "namespace,owner,map,setgroups"],
					["umount", pinned],
					["create", "--map", MAP],
					[
						"exec",
						"--map",
						MAP,
						"--",
						"sh",
						"-c",
						"id -u; id -g; id -G; pwd; env | sort; cat /proc/self/setgroups",
					],
					["exec", "true"],
					["map", "convert", MAP],
					["map", "draw", MAP],
					["map", "translate", MAP, "--uid", "5"],
					["map", "check", "1:1"],
				];
				const all = (values: Record<string, unknown>) => calls.map((args) => run(values, args));
				const expected = all({});
				assert.deepEqual(
					expected.map(({ status }) => status),
					[0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 2, 0, 125, 0, 0, 0, 1],
				);
				for (const values of [evil, wrong]) {
					for (const [index, seen] of all(values).entries()) {
						assert.deepEqual(seen, expected[index], calls[index]?.join(" "));
					}
				}
			} finally {
				await container.end();
			}
		}),
);
