import assert from "node:assert/strict";
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import {
	doctor,
	explain,
	fromOci,
	Handles,
	list,
	Mapping,
	type MappingContext,
	mountIdmapped,
	mounts,
	type NamespaceSpawnOptions,
	overlay,
	pin,
	supports,
	UserNamespace,
	unmount,
} from "../../src/index.ts";
import { root, runScript, sh } from "../support/child.ts";
import { mkdirs, unescapeOctal, withTmpfs } from "../support/mounts.ts";
import { optionsOf, outcome, outcomeWith, readersOf } from "../support/pollution.ts";
import { test } from "../support/test.ts";

// The attacker adds a property to Object.prototype. Whatever its name and value, every public function must behave
// exactly as without it, and must not read it.

const needs = ["linux", "root", "mounts", "tool:unshare"] as const;
const MAP = "0:100000:65536";

/** One function: how it refuses an unknown option, and calls that leave options out. */
interface Subject {
	refuse: (options: never) => unknown;
	calls: readonly (() => unknown)[];
}

/** The processes and mounts that the attacker can name, which belong to the attacker. */
interface World {
	folder: string;
	source: string;
	target: string;
	elsewhere: string;
	container: ChildProcess;
	namespace: UserNamespace;
	other: UserNamespace;
	handles: Handles;
}

async function withWorld(body: (world: World) => Promise<void>): Promise<void> {
	await withTmpfs(async (folder) => {
		const [source = "", target = "", elsewhere = ""] = mkdirs(folder, "source", "target", "elsewhere");
		mkdirs(folder, "second", "upper", "work");
		const script = ["--mount", "--propagation", "private", "sh", "-c", "echo ready; exec sleep 1000"];
		const container = spawn("unshare", script, { stdio: ["ignore", "pipe", "inherit"] });
		await once(container.stdout as NonNullable<typeof container.stdout>, "data");
		const namespace = UserNamespace.createSync(MAP, { setgroups: "allow" });
		const other = UserNamespace.createSync("0:300000:65536");
		const handles = new Handles();
		try {
			await body({ folder, source, target, elsewhere, container, namespace, other, handles });
		} finally {
			handles.release();
			namespace.close();
			other.close();
			const closed = once(container, "close");
			container.kill("SIGKILL");
			await closed;
		}
	});
}

/** The mounts below the folder in a process's mountinfo, without the numbers that differ from call to call. */
function mountsBelow(pid: number | "self", folder: string): string[] {
	return readFileSync(`/proc/${pid}/mountinfo`, "utf8")
		.split("\n")
		.map((line) => line.split(" ").slice(3))
		.filter(([, point = ""]) => unescapeOctal(point).startsWith(`${folder}/`))
		.map((fields) => fields.join(" "));
}

/** A valid and hostile value of each option. The test tries all of them with each option, as values of a wrong type. */
function hostile({ elsewhere, container, other, handles }: World): Record<string, unknown> {
	const flags =
		"readonly nosuid nodev noexec nosymfollow nodiratime recursive recursiveIdmap skipUnsupported unmap replace mapUpper keepUpper idmapped keepId rootless skipOtherLines keepSession detached windowsHide windowsVerbatimArguments";
	return {
		...Object.fromEntries(flags.split(" ").map((name) => [name, true])),
		...{ source: elsewhere, target: elsewhere, mapping: "0:500000:65536", userns: other, handles },
		...{ nested: "refuse", atime: "noatime", propagation: "shared", targetRoot: elsewhere },
		...{ resolve: "no-symlinks", into: container.pid, lower: elsewhere, upper: elsewhere, work: elsewhere },
		...{ join: { pid: container.pid, kinds: "all" }, noNewPrivs: true, preserveFds: 1 },
		...{ setgroups: "allow", method: "newuidmap", signal: AbortSignal.abort(), pid: container.pid },
		...{ uid: 7, gid: 7, groups: [7], unshare: ["net"], env: { PATH: "/usr/bin:/bin", EVIL: "1" } },
		...{
			argv0: "evil",
			cwd: elsewhere,
			stdio: "ignore",
			shell: "/bin/echo",
			timeout: 1,
			killSignal: "SIGKILL",
		},
		...{ serialization: "advanced", from: container.pid, to: 9, size: 9, user: "daemon", container: "0:1:1" },
		...{ id: other.id, inode: other.inode },
		...{ parent: "0:7:9", name: "daemon", names: () => 7, bundle: elsewhere, features: {}, others: "keep" },
		...{ in: container.pid, as: "7:7,7", chownTo: "7:7" },
		owner: { uid: 7, gid: 7 },
		...{ for: "rootless", path: elsewhere },
	};
}

async function walk(world: World, subjects: Record<string, Subject>): Promise<void> {
	const values = hostile(world);
	for (const [subject, { refuse, calls }] of Object.entries(subjects)) {
		const names = await optionsOf(refuse);
		assert.ok(names.length > 0);
		for (const [index, call] of calls.entries()) {
			const expected = await outcome(call);
			// A call whose two results differ would show nothing.
			assert.equal(await outcome(call), expected, `${subject} ${index}`);
			for (const name of names) {
				const words = `${subject} ${index}: ${name}`;
				assert.ok(Object.hasOwn(values, name), `there is no hostile value for ${words}`);
				assert.deepEqual(await readersOf(name, call), [], words);
				for (const value of [values[name], 5n]) {
					// Node's own streams read an inherited signal, which this package cannot prevent.
					if (name === "signal" && subject === "spawn") continue;
					assert.equal(await outcomeWith(name, value, call), expected, `${words} = ${String(value)}`);
				}
			}
		}
	}
}

test("Object.prototype: a polluted prototype does not change mappings", { needs }, () =>
	withWorld((world) =>
		walk(world, {
			identity: {
				refuse: (options) => Mapping.identity(options),
				calls: [
					() => Mapping.identity().id,
					() => Mapping.identity({}).id,
					() => Mapping.identity({ size: 5 }).id,
				],
			},
			shift: {
				refuse: (options) => Mapping.shift(options),
				calls: [
					() => Mapping.shift({ from: 0, to: 5, size: 5 }).id,
					() => Mapping.shift({ from: 0, to: 5 } as never).id,
					() => Mapping.shift({} as never).id,
				],
			},
			rootless: {
				refuse: (options) => Mapping.rootless(options),
				calls: [
					() => Mapping.rootless().id,
					() => Mapping.rootless({ user: 0 }).id,
					() => Mapping.rootless({ user: 0, keepId: true }).id,
				],
			},
			owner: {
				refuse: (as) => Mapping.owner({ uid: 5, gid: 6 }, MAP, as),
				calls: [
					() => Mapping.owner({ uid: 5, gid: 6 }, MAP).id,
					() => Mapping.owner({ uid: 5, gid: 6 }, MAP, { uid: 1 }).id,
					() => Mapping.owner({ uid: 5 } as never, MAP, {}).id,
				],
			},
			keepId: {
				refuse: (keepId) => Mapping.rootless({ keepId }),
				calls: [() => Mapping.rootless({ user: 0, keepId: {} }).id],
			},
			context: {
				refuse: (options) => Mapping.parse("0:1:1", "podman", options),
				calls: [undefined, {}].flatMap((context: MappingContext | undefined) => [
					() => Mapping.parse("+0:@1:1", "podman", context).id,
					() => Mapping.parse("idmap", "podman-idmap", context).id,
					() => Mapping.parse("root:5:5", "subid", context).id,
					() => Mapping.parse("root:5:5", "subid", { ...context, user: {} }).id,
					() => Mapping.from("0:5:5").toString("subid", context),
					() => Mapping.parse("u:root:5:5", "colon", context).id,
					() => Mapping.detect("a: b\nlxc.idmap: u 0 5 5", context).mapping.id,
				]),
			},
			user: {
				refuse: (user) => Mapping.parse("root:5:5", "subid", { user }),
				calls: [() => Mapping.parse("root:5:5", "subid", { user: { uid: 0 } }).id],
			},
			fromOci: {
				refuse: (options) => fromOci({ source: "/a", destination: "/b", options: ["bind"] }, options),
				calls: [undefined, {}].map(
					(options) => () =>
						fromOci({ source: "/a", destination: "/b", options: ["rbind", "ridmap"] }, options),
				),
			},
		}),
	),
);

test("Object.prototype: a polluted prototype does not change namespaces", { needs, timeout: 120_000 }, () =>
	withWorld(async (world) => {
		const facts = async (namespace: UserNamespace) => {
			try {
				return [(await namespace.mapping()).id, await namespace.setgroups()];
			} finally {
				namespace.close();
			}
		};
		const handles = new Handles();
		const options = [undefined, {}];
		await walk(world, {
			create: {
				refuse: (given) => UserNamespace.create(MAP, given),
				calls: options.map((given) => async () => facts(await UserNamespace.create(MAP, given))),
			},
			createSync: {
				refuse: (given) => UserNamespace.createSync(MAP, given),
				calls: options.map((given) => () => facts(UserNamespace.createSync(MAP, given))),
			},
			get: {
				refuse: (given) => handles.get(MAP, given),
				calls: [
					...options.map((given) => async () => facts(await handles.get(MAP, given))),
					async () => {
						using own = new Handles();
						return facts(await own.get(MAP, { signal: new AbortController().signal }));
					},
				],
			},
			list: {
				refuse: (given) => list(given),
				// Other processes make namespaces too, so only those of this test count.
				calls: [{}, { pid: process.pid }].map((given) => async () => {
					const inodes = (await list(given)).namespaces.map(({ inode }) => inode);
					return [world.namespace, world.other].map(({ inode }) => inodes.includes(inode));
				}),
			},
			open: {
				refuse: (given) => UserNamespace.open(given),
				calls: [world.namespace.handle, {}].map((given) => () => facts(UserNamespace.open(given as never))),
			},
			getSync: {
				refuse: (given) => handles.getSync(MAP, given),
				calls: options.map((given) => () => facts(handles.getSync(MAP, given))),
			},
		});
		handles.release();
	}),
);

/** The array has a hole at the standard error's index. */
const HOLE: StdioOptions = ["ignore", "pipe"];
HOLE.length = 3;

/** Everything that the options of spawn can change, as the program itself sees it. */
const SEEN =
	"id -u; id -g; id -G; pwd; readlink /proc/self/ns/net; env | sort; tr '\\0' ' ' < /proc/$$/cmdline";

test(
	"Object.prototype: a polluted prototype does not change programs in a namespace",
	{ needs, timeout: 240_000 },
	() =>
		withWorld(async (world) => {
			const { namespace } = world;
			const run = (options?: NamespaceSpawnOptions) =>
				new Promise<unknown>((resolve, reject) => {
					const child = namespace.spawn("sh", ["-c", SEEN], options);
					let seen = "";
					child.stdout?.on("data", (more) => {
						seen += more;
					});
					child.on("error", reject);
					child.on("close", (status, signal) =>
						resolve([seen, status, signal, child.spawnargs, child.spawnfile]),
					);
				});
			await walk(world, {
				spawn: {
					refuse: (options) => namespace.spawn("true", [], options),
					calls: [() => run(), () => run({}), () => run({ env: { PATH: "/usr/bin:/bin" }, stdio: HOLE })],
				},
			});
			const expected = await outcome(() => run());
			// An inherited environment variable does not reach the program.
			assert.equal(await outcomeWith("LD_PRELOAD", "/evil.so", () => run()), expected);
			assert.equal(await outcomeWith("0", "evil", () => run()), expected);
		}),
);

test("Object.prototype: a polluted prototype does not change exec", { needs, timeout: 120_000 }, async () => {
	const names = await optionsOf((options) => {
		const namespace = UserNamespace.createSync(MAP);
		try {
			namespace.exec("true", [], options);
		} finally {
			namespace.close();
		}
	});
	await withWorld(async (world) => {
		const values = hostile(world);
		const run = (pollute: string) => {
			const { status, stdout, stderr } = runScript(
				`const namespace = userns.UserNamespace.createSync("${MAP}", { setgroups: "allow" });
				${pollute}
				namespace.exec("sh", ["-c", ${JSON.stringify(SEEN)}]);`,
			);
			return [status, stdout.replaceAll(/net:\[\d+\]/g, "net"), stderr];
		};
		const expected = run("");
		assert.equal(expected[0], 0);
		for (const name of [...names, "LD_PRELOAD", "PATH"]) {
			for (const value of [values[name] ?? "/evil", 5]) {
				const pollute = `Object.prototype[${JSON.stringify(name)}] = ${JSON.stringify(value)};`;
				assert.deepEqual(run(pollute), expected, pollute);
			}
		}
	});
});

test(
	"Object.prototype: a polluted prototype does not change mounts, here and in the attacker's mount namespace",
	{
		needs,
		timeout: 240_000,
	},
	() =>
		withWorld(async (world) => {
			const { folder, source, target, container, namespace } = world;
			const seen = () => [mountsBelow("self", folder), mountsBelow(container.pid as number, folder)];
			/** The mount's properties, with the check that nothing of it stays. */
			const taken = async (mount: { unmount(): Promise<void>; mapping: Mapping; target: unknown }) => {
				const there = [mount.mapping.id, mount.target, ...seen()];
				await mount.unmount();
				return [there, seen()];
			};
			const base = { source, mapping: MAP };
			const layers = { lower: [join(folder, "second"), source], mapping: MAP };
			await walk(world, {
				mountIdmapped: {
					refuse: (options) => mountIdmapped(options),
					calls: [
						async () => taken(await mountIdmapped({ ...base, target })),
						async () => taken(await mountIdmapped({ source, target, userns: namespace })),
						async () => taken(await mountIdmapped({ ...base, target, readonly: true })),
						async () => taken(await mountIdmapped({ ...base, target, recursive: true })),
						async () => taken(await mountIdmapped({ source, target, owner: { uid: 5, gid: 6 } })),
						() => mountIdmapped({ source, target, owner: {} } as never),
						async () => {
							const mount = await mountIdmapped(base);
							await mount.attach(target);
							return taken(mount);
						},
						() => mountIdmapped({} as never),
					],
				},
				attach: {
					refuse: async (options) => {
						const mount = await mountIdmapped(base);
						try {
							await mount.attach(target, options);
						} finally {
							mount.close();
						}
					},
					calls: [undefined, {}].map((options) => async () => {
						const mount = await mountIdmapped(base);
						await mount.attach(target, options);
						return taken(mount);
					}),
				},
				overlay: {
					refuse: (options) => overlay(options),
					calls: [
						async () => taken(await overlay({ ...layers, target })),
						async () => {
							const mount = await overlay(layers);
							await mount.attach(target);
							return taken(mount);
						},
					],
				},
				unmount: {
					refuse: (options) => unmount(target, options),
					calls: [undefined, {}].map((options) => async () => {
						const mount = await mountIdmapped({ ...base, target });
						sh("mount", "-t", "tmpfs", "covers", target);
						// Without recursive the kernel must refuse.
						const first = await outcome(() => unmount(target, options));
						sh("umount", target);
						mount.close();
						return [first.replaceAll(/\d+/g, "N"), await outcome(() => unmount(target, options)), seen()];
					}),
				},
				supports: {
					refuse: (options) => supports(source, options),
					calls: [undefined, {}].map((options) => () => supports(source, options)),
				},
				doctor: {
					refuse: (options) => doctor(options),
					calls: [undefined, {}, { for: "mount", path: source }].map(
						(options) => () => doctor(options as never),
					),
				},
				explain: {
					refuse: (options) => explain(source, options),
					calls: [undefined, {}, { as: "1000" }].map((options) => () => explain(source, options)),
				},
				pin: {
					refuse: (options) => pin(namespace, join(folder, "pinned"), options),
					calls: [undefined, {}].map((options) => async () => {
						pin(namespace, join(folder, "pinned"), options);
						const there = seen();
						return [there, unmount(join(folder, "pinned")), seen()];
					}),
				},
				mounts: {
					refuse: (options) => mounts(options),
					calls: [undefined, {}].map((options) => async () => {
						const mount = await mountIdmapped({ ...base, target });
						const found = mounts(options).map(({ mountPoint, fsType, mapping }) => [
							mountPoint,
							fsType,
							mapping?.id,
						]);
						await mount.unmount();
						return found;
					}),
				},
			});
		}),
);

/** The properties of an Outcome, src/native/addon.ts. */
const ANSWERED =
	"error step fd mountId uniqueId maps uidSaid gidSaid log bytes name uidStatus gidStatus".split(" ");

test(
	"Object.prototype: a property that the add-on's result lacks is not read from the prototype",
	{ needs },
	() =>
		withWorld(async ({ folder, source, target, elsewhere, namespace }) => {
			const mounted = [];
			for (const path of [target, elsewhere]) {
				mounted.push(await mountIdmapped({ source, target: path, mapping: MAP }));
			}
			const calls = {
				// The path has no last name. An inherited one would be looked up in the directory.
				unmount: () => unmount("/target/..", { targetRoot: folder }),
				pin: () => pin(namespace, join(folder, "target/..")),
				supports: () => supports(source),
				explain: () => explain(source, { as: "1000" }),
				mounts: () => mounts().length,
				recursive: async () => (await mountIdmapped({ source, mapping: MAP, recursive: true })).close(),
				create: () => UserNamespace.createSync(MAP, { method: "newuidmap" }).close(),
			};
			for (const [words, call] of Object.entries(calls)) {
				const expected = (await outcome(call)).replaceAll(/\d+/g, "N");
				for (const name of ANSWERED) {
					assert.deepEqual(await readersOf(name, call), [], `${words}: ${name}`);
					const value = name === "bytes" ? new ArrayBuffer(8) : "elsewhere";
					assert.equal(
						(await outcomeWith(name, value, call)).replaceAll(/\d+/g, "N"),
						expected,
						`${words}: ${name}`,
					);
				}
			}
			for (const mount of mounted) await mount.unmount();
		}),
);

/** Each file that takes options, so that a new function is added to the tests above. */
const TAKE_OPTIONS = [
	...[
		"doctor/doctor.ts",
		"explain/explain.ts",
		"explain/subject.ts",
		"list/list.ts",
		"mapping/context.ts",
		"mapping/owner.ts",
		"mapping/rootless.ts",
		"mapping/shift.ts",
	],
	...["mount/attach-options.ts", "mount/from-oci.ts", "mount/mount-options.ts"],
	...["mount/mounts.ts", "mount/overlay.ts", "mount/path-options.ts"],
	...["namespace/create-options.ts", "namespace/enter-options.ts", "namespace/enter-request.ts"],
	...["namespace/open.ts", "options.ts"],
];

test("the tests above know every file that takes options", () => {
	const source = join(root, "src");
	const found = readdirSync(source, { recursive: true, encoding: "utf8" })
		.filter((file) => file.endsWith(".ts"))
		.filter((file) => /\bcopyOptions\b[<(]/.test(readFileSync(join(source, file), "utf8")))
		.sort();
	assert.deepEqual(found, TAKE_OPTIONS);
});
