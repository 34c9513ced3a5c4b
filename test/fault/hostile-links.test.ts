import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
	closeSync,
	existsSync,
	lchownSync,
	openSync,
	readdirSync,
	readFileSync,
	rmSync,
	symlinkSync,
} from "node:fs";
import { join } from "node:path";
import {
	mountIdmapped,
	type PathOptions,
	pin,
	pinAsync,
	supports,
	UserNamespace,
	UsernsError,
	unmount,
	unmountAsync,
} from "../../src/index.ts";
import { fuse } from "../matrix/filesystems.ts";
import { ask, userns } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { withLink } from "../support/hostile-link.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { OTHER_UID } from "../support/needs.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;

/** Asserts that a step of the look-up refused a link, with a hint. */
function refused(code: string, message: RegExp): (error: unknown) => boolean {
	return (error) => {
		assert.ok(error instanceof UsernsError, String(error));
		assert.equal(error.code, code);
		assert.match(error.message, message);
		assert.equal(error.step, "following a symbolic link");
		assert.ok(error.hint);
		return true;
	};
}

const OF_ANOTHER = /the symbolic link "way" belongs to another user, uid 54321: .*EACCES/;

test("no function and no command follows another user's link on the path", { needs }, () =>
	withLink(async ({ way, victim, spot, ns }) => {
		const table = readFileSync("/proc/self/mountinfo", "utf8");
		const path = join(way, "spot");
		const fresh = join(way, "nologin");
		assert.throws(() => unmount(path), refused("ERR_USERNS_UNMOUNT", OF_ANOTHER));
		assert.throws(() => unmount(path, { recursive: true }), refused("ERR_USERNS_UNMOUNT", OF_ANOTHER));
		await assert.rejects(unmountAsync(path), refused("ERR_USERNS_UNMOUNT", OF_ANOTHER));
		assert.throws(() => pin(ns, fresh), refused("ERR_USERNS_PIN", OF_ANOTHER));
		await assert.rejects(pinAsync(ns, fresh), refused("ERR_USERNS_PIN", OF_ANOTHER));
		await assert.rejects(supports(path), refused("ERR_USERNS_MOUNT", OF_ANOTHER));
		for (const args of [
			["umount", path],
			["create", "--map", "0:100000:10", "--at", fresh],
			["supports", path],
		]) {
			const { status, stderr } = userns(...args);
			assert.equal(status, args[0] === "supports" ? 2 : 1);
			assert.match(stderr, /belongs to another user, uid 54321/);
		}
		assert.deepEqual(readdirSync(victim), ["spot"]);
		assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), table);
		assert.ok(mountAt(spot));
	}),
);

test(
	"every function follows links of root and of the caller, including chained and trailing links",
	{
		needs,
	},
	() =>
		withLink(async ({ folder, way, victim, spot, ns }) => {
			symlinkSync("victim", join(folder, "one")); // relative
			symlinkSync(`${folder}/one/../one/./spot`, join(folder, "two")); // absolute
			assert.equal((await supports(join(folder, "two"))).mountPoint, spot);
			pin(ns, join(folder, "one/pinned"));
			assert.equal(mountAt(join(victim, "pinned"))?.type, "nsfs");
			// unmount removes the pin's file wherever it is, although a link led to it.
			symlinkSync("one/pinned", join(folder, "trailing"));
			assert.equal(unmount(join(folder, "trailing")).kind, "user namespace");
			assert.equal(existsSync(join(victim, "pinned")), false);
			assert.equal(unmount(join(folder, "two")).kind, "idmapped mount");
			assert.equal(mountAt(spot), undefined);
			// pin does not follow a trailing link to create a file, whoever owns the link.
			symlinkSync(join(victim, "dangling"), join(folder, "to-nothing"));
			assert.throws(() => pin(ns, join(folder, "to-nothing")), {
				code: "ERR_USERNS_PIN",
				errnoCode: "EEXIST",
			});
			assert.equal(existsSync(join(victim, "dangling")), false);
			// The other user is the caller here, and so the link is the caller's own.
			const said = ask<string>(
				`process.setegid(${OTHER_UID}); process.seteuid(${OTHER_UID});
			const end = await userns.supports(${JSON.stringify(way)}).then(() => "", (error) => error.step);
			console.log(JSON.stringify(end));`,
			);
			assert.notEqual(said, "following a symbolic link");
		}),
);

test(
	'resolve: "no-symlinks" refuses every link, and targetRoot resolves links below the root',
	{ needs },
	() =>
		withLink(async ({ folder, way, spot, ns }) => {
			symlinkSync("victim", join(folder, "own"));
			symlinkSync("/victim", join(folder, "rooted"));
			symlinkSync("../../../victim", join(folder, "climbing"));
			symlinkSync("/proc/self/cwd", join(folder, "magic"));
			const cases: [PathOptions, string, string | undefined][] = [
				[{ resolve: "no-symlinks" }, join(folder, "own/spot"), undefined],
				[{ resolve: "no-symlinks" }, join(folder, "home/../victim/spot"), spot],
				[{ targetRoot: folder }, "/victim/spot", spot],
				[{ targetRoot: folder }, "../../victim/spot", spot],
				[{ targetRoot: folder }, "own/spot", spot],
				[{ targetRoot: folder }, "rooted/spot", spot],
				[{ targetRoot: folder }, "climbing/spot", spot],
				[{ targetRoot: folder, resolve: "no-symlinks" }, "own/spot", undefined],
				[{ targetRoot: folder }, "home/way/spot", undefined],
				[{ targetRoot: folder }, "magic", undefined],
				[{ targetRoot: way }, "spot", undefined],
			];
			for (const [options, path, where] of cases) {
				const label = JSON.stringify([options, path]);
				if (where === undefined) {
					const step = "following a symbolic link";
					const is = (error: UsernsError) => error.step === step || error.errnoCode === "ENOENT";
					await assert.rejects(supports(path, options), is, label);
					await assert.rejects(unmountAsync(path, options), is, label);
					assert.throws(() => pin(ns, `${path}/ns`, options), is, label);
				} else {
					assert.equal((await supports(path, options)).mountPoint, where, label);
					pin(ns, `${path}.ns`, options);
					assert.equal(unmount(`${path}.ns`, options).kind, "user namespace", label);
					assert.deepEqual(readdirSync(join(folder, "victim")), ["spot"], label);
				}
			}
			const root = openSync(folder, "r");
			assert.equal((await supports("/victim/spot", { targetRoot: root })).mountPoint, spot);
			assert.deepEqual(unmount("/victim/spot", { targetRoot: root }), {
				path: "/victim/spot",
				kind: "idmapped mount",
			});
			closeSync(root);
			const flags = ["--target-root", folder, "--resolve", "no-symlinks"];
			assert.equal(userns("create", "--map", "0:1:1", "--at", "/victim/ns", ...flags).status, 0);
			assert.equal(userns("supports", "/victim/ns", ...flags, "--json").status, 1); // nsfs cannot be ID-mapped
			assert.equal(userns("umount", "/own/ns", ...flags).status, 1);
			assert.equal(userns("umount", "/victim/ns", ...flags).status, 0);
		}),
);

test("invalid options, undefined ones included, throw before any look-up", {
	needs,
}, async () => {
	const ns = UserNamespace.createSync("0:100000:10");
	const none = "/nonexistent";
	for (const options of [
		{ targetRoot: undefined },
		{ resolve: undefined },
		{ resolve: "all" },
		{ targetRoot: -1 },
		{ targetRoot: "" },
		{ other: 1 },
	] as object[] as PathOptions[]) {
		const wrong = { code: "ERR_USERNS_INVALID_ARGUMENT" };
		assert.throws(() => unmount(none, options), wrong);
		assert.throws(() => pin(ns, none, options), wrong);
		await assert.rejects(supports(none, options), wrong);
		await assert.rejects(unmountAsync(none, options), wrong);
		await assert.rejects(pinAsync(ns, none, options), wrong);
	}
	for (const options of [{ into: undefined }, { into: 1, targetRoot: "/" }] as object[]) {
		assert.throws(() => unmount(none, options), { code: "ERR_USERNS_INVALID_ARGUMENT" });
	}
	await assert.rejects(supports(0, { targetRoot: "/" }), { code: "ERR_USERNS_INVALID_ARGUMENT" });
	ns.close();
});

test(
	"a path in /proc may name a descriptor of this process, but not of another user's process",
	{
		needs,
	},
	() =>
		withLink(async ({ victim, spot }) => {
			const [directory, spotFd] = [openSync(victim, "r"), openSync(spot, "r")];
			const other = spawn("sleep", ["1000"], { uid: OTHER_UID, gid: OTHER_UID });
			await once(other, "spawn");
			try {
				for (const self of ["self", "thread-self", `${process.pid}`]) {
					assert.equal((await supports(`/proc/${self}/fd/${directory}/spot`)).mountPoint, spot);
					assert.equal((await supports(`/proc/${self}/fd/${spotFd}`)).mountPoint, spot);
					assert.equal((await supports(`/proc/${self}/root${spot}`)).mountPoint, spot);
				}
				assert.equal((await supports(`/dev/fd/${spotFd}`)).mountPoint, spot);
				const path = `/proc/${other.pid}/root${spot}`;
				assert.throws(() => unmount(path), { code: "ERR_USERNS_UNMOUNT", errnoCode: "EACCES" });
				const none = { errnoCode: "ELOOP", step: "following a symbolic link" };
				assert.throws(() => unmount(`/proc/self/fd/${spotFd}`, { resolve: "no-symlinks" }), none);
				assert.ok(mountAt(spot));
				assert.equal(unmount(`/proc/self/fd/${spotFd}`).kind, "idmapped mount");
				assert.equal(mountAt(spot), undefined);
			} finally {
				other.kill("SIGKILL");
				await once(other, "close");
				closeSync(directory);
				closeSync(spotFd);
			}
		}),
);

test("the look-up follows forty links and refuses one more, and refuses a loop", { needs }, () =>
	withTmpfs(async (folder) => {
		symlinkSync(".", join(folder, "1"));
		for (let i = 2; i <= 41; i++) symlinkSync(`${i - 1}`, join(folder, `${i}`));
		symlinkSync("loop", join(folder, "loop"));
		assert.equal((await supports(join(folder, "40"))).mountPoint, folder);
		for (const name of ["41", "loop"]) {
			await assert.rejects(supports(join(folder, name)), { errnoCode: "ELOOP" });
		}
	}),
);

test("the owner of a link on an ID-mapped mount is not trusted", { needs: [...needs, "linux:6.8"] }, () =>
	withLink(async ({ folder, home, spot }) => {
		// The mount shows the other user's files, the link included, as root's.
		const [view = ""] = mkdirs(folder, "view");
		const mount = await mountIdmapped({ source: home, target: view, mapping: `${OTHER_UID}:0:1` });
		const path = join(view, "way/spot");
		assert.throws(
			() => unmount(path),
			refused("ERR_USERNS_UNMOUNT", /ID-mapped mount, which shows another owner/),
		);
		assert.ok(mountAt(spot));
		await mount.unmount();
	}),
);

test("the owner of a link on a FUSE file system is not trusted", { needs: [...needs, ...fuse.needs] }, () =>
	withTmpfs(async (folder) => {
		mkdirs(folder, "tree", "disk", "victim");
		symlinkSync(join(folder, "victim"), join(folder, "tree/way"));
		const end = await fuse.mount(folder);
		try {
			await assert.rejects(
				supports(join(folder, "disk/way")),
				refused("ERR_USERNS_MOUNT", /a FUSE file system, whose server can report any owner/),
			);
		} finally {
			await end?.();
		}
	}),
);

test(
	"links of the overflow uid are refused in a user namespace, because their owner can be the host's root or any user",
	{
		needs: [...needs, "user", "tool:unshare"],
	},
	() =>
		withTmpfs(async (folder) => {
			mkdirs(folder, "here");
			symlinkSync("here", join(folder, "of-root"));
			symlinkSync("here", join(folder, "of-another"));
			symlinkSync("here", join(folder, "own"));
			lchownSync(join(folder, "of-another"), OTHER_UID + 1, OTHER_UID + 1);
			lchownSync(join(folder, "own"), OTHER_UID, OTHER_UID);
			const look = (...prefix: string[]) =>
				ask<Record<string, string>>(
					`const ends = {};
				for (const name of ["of-root", "of-another", "own"])
					ends[name] = await userns.supports(${JSON.stringify(folder)} + "/" + name).then(() => "found", (error) => error.step === "following a symbolic link" ? "refused" : "found");
				console.log(JSON.stringify(ends));`,
					{ prefix, uid: OTHER_UID, gid: OTHER_UID },
				);
			// As root of the namespace, and as a uid that the namespace does not map, which is the overflow uid itself.
			const asRoot = look("unshare", "--user", "--map-root-user", "--mount");
			assert.deepEqual(asRoot, { "of-root": "refused", "of-another": "refused", own: "found" });
			assert.deepEqual(look("unshare", "--user"), {
				"of-root": "refused",
				"of-another": "refused",
				own: "refused",
			});
			assert.deepEqual(look(), { "of-root": "found", "of-another": "refused", own: "found" });
		}),
);

test(
	"links of a container's users are not followed, and no path leads out of the container",
	{
		needs: [...needs, "tool:unshare"],
	},
	() =>
		withTmpfs(async (folder) => {
			const [source = ""] = mkdirs(folder, "source");
			const container = await startContainer(folder, "pivot");
			try {
				const root = `/proc/${container.pid}/root`;
				for (const target of ["/data", "/real"]) {
					(await mountIdmapped({ source, target, mapping: "0:1:1", into: container.pid })).close();
				}
				symlinkSync("/real", join(root, "theirs"));
				lchownSync(join(root, "theirs"), OTHER_UID, OTHER_UID);
				const into = container.pid;
				const table = () => readFileSync(`/proc/${into}/mountinfo`, "utf8");
				const before = table();
				assert.throws(() => unmount("/theirs", { into }), refused("ERR_USERNS_UNMOUNT", /uid 54321/));
				await assert.rejects(unmountAsync("/theirs", { into }), refused("ERR_USERNS_UNMOUNT", /uid 54321/));
				assert.throws(() => unmount("/proc/self/root/data", { into }), { errnoCode: "ELOOP" });
				assert.throws(() => unmount("/link", { into, resolve: "no-symlinks" }), { errnoCode: "ELOOP" });
				assert.equal(table(), before);
				assert.equal(unmount("/../../data", { into }).kind, "idmapped mount");
				assert.equal((await unmountAsync("/link", { into: `/proc/${into}/ns/mnt` })).kind, "idmapped mount");
			} finally {
				await container.end();
			}
		}),
);

test(
	"open follows no link of another user, because root's program would run in a namespace of that user's choice",
	{ needs: [...needs, "tool:unshare"] },
	() =>
		withTmpfs(async (folder) => {
			const [home = ""] = mkdirs(folder, "home");
			const container = await startContainer(folder, "pivot", "0:2100000000:65536");
			const namespace = UserNamespace.createSync("0:2100000000:65536");
			try {
				pin(namespace, join(folder, "pinned"));
				symlinkSync("/proc/self/ns/user", join(home, "way"));
				lchownSync(join(home, "way"), OTHER_UID, OTHER_UID);
				for (const open of [UserNamespace.open, UserNamespace.openAsync]) {
					await assert.rejects(async () => open(join(home, "way")), refused("ERR_USERNS_OPEN", OF_ANOTHER));
				}
				const { status, stdout, stderr } = userns("exec", "--in", join(home, "way"), "--", "id", "-u");
				assert.deepEqual([status, stdout], [125, ""]);
				assert.match(stderr, OF_ANOTHER);
				rmSync(join(home, "way"));
				symlinkSync(`/proc/${container.pid}/ns/mnt`, join(home, "way"));
				lchownSync(join(home, "way"), OTHER_UID, OTHER_UID);
				for (const call of [unmount, unmountAsync]) {
					await assert.rejects(
						async () => call("/data", { into: join(home, "way") }),
						refused("ERR_USERNS_MOUNT_NAMESPACE", OF_ANOTHER),
					);
				}
				await assert.rejects(
					mountIdmapped({ source: folder, target: "/data", mapping: "0:1:1", into: join(home, "way") }),
					refused("ERR_USERNS_MOUNT_NAMESPACE", OF_ANOTHER),
				);
				// The link in procfs belongs to the user of the process, and leads where the path says.
				symlinkSync(join(folder, "pinned"), join(folder, "roots"));
				for (const path of [
					`/proc/${container.pid}/ns/user`,
					`/proc/self/fd/${namespace.fd}`,
					join(folder, "roots"),
				]) {
					for (const open of [UserNamespace.open, UserNamespace.openAsync]) (await open(path)).close();
				}
				for (const call of [unmount, unmountAsync]) {
					await assert.rejects(
						async () => call("/data", { into: `/proc/${container.pid}/ns/mnt` }),
						(error: UsernsError) => error.code === "ERR_USERNS_UNMOUNT",
					);
				}
				unmount(join(folder, "pinned"));
			} finally {
				namespace.close();
				await container.end();
			}
		}),
);
