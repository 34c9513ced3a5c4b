import assert from "node:assert/strict";
import { closeSync, openSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import { mountIdmapped, overlay, UserNamespace, type UsernsError } from "../../src/index.ts";
import { sh } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, mountFresh, withTmpfs } from "../support/mounts.ts";
import { olderThan } from "../support/needs.ts";
import { askAs, freshUser } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
const MAP = "0:100000:65536";

test("every failure names its step and leaves nothing attached", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const file = join(folder, "file");
		writeFileSync(file, "");
		symlinkSync("nowhere", join(folder, "dangling"));
		const before = readFileSync("/proc/self/mountinfo", "utf8");
		const mapped = await mountIdmapped({ source, mapping: MAP });
		const own = UserNamespace.open(process.pid);
		const closed = UserNamespace.createSync(MAP);
		closed.close();
		const cases: [object, string, RegExp][] = [
			[
				{ source: join(folder, "none"), target, mapping: MAP },
				"ERR_USERNS_MOUNT",
				/opening the source: ENOENT/,
			],
			[
				{ source: "/proc", target, mapping: MAP },
				"ERR_USERNS_MOUNT",
				/setting the map and the attributes: EINVAL/,
			],
			[
				{ source, target: join(folder, "none"), mapping: MAP },
				"ERR_USERNS_MOUNT",
				/opening the target: ENOENT/,
			],
			[
				{ source, target: join(folder, "dangling"), mapping: MAP },
				"ERR_USERNS_MOUNT",
				/opening the target: ENOENT/,
			],
			[
				{ source, target: file, mapping: MAP },
				"ERR_USERNS_MOUNT",
				/: a directory cannot be mounted on a file: attaching the mount: (ENOTDIR|EINVAL)/,
			],
			olderThan("6.15") === undefined
				? [
						{ source: mapped.fd, target, mapping: MAP },
						"ERR_USERNS_INVALID_MAPPING",
						/none of the uids visible/,
					]
				: [
						{ source: mapped.fd, target, mapping: MAP }, // cannot be copied, and has a map
						"ERR_USERNS_MOUNT",
						/setting the map and the attributes: EPERM/,
					],
			[{ source, target, userns: own }, "ERR_USERNS_MOUNT", /setting the map and the attributes: EPERM/],
			[{ source, target, userns: closed }, "ERR_USERNS_CLOSED", /closed/],
			[{ source: 987654, target, mapping: MAP }, "ERR_USERNS_MOUNT", /EBADF/],
		];
		for (const [options, code, message] of cases) {
			await assert.rejects(
				mountIdmapped(options as Parameters<typeof mountIdmapped>[0]),
				(error: UsernsError) => {
					assert.equal(error.code, code);
					assert.match(error.message, message);
					return true;
				},
			);
		}
		assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
		mapped.close();
		own.close();
	}),
);

test(
	"the message says which of source and target is a file, and the hint works; the hint names a file on a path",
	{ needs },
	() =>
		withTmpfs(async (folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			const file = join(folder, "file");
			writeFileSync(file, "");
			await mountFresh(target);
			const path = /^Check the path: a name on it is a file, not a directory\.$/;
			const fds = [openSync(file, "r"), openSync(target, "r")] as const;
			const detached = await mountIdmapped({ source: file, mapping: MAP });
			const useFile = [
				"a file cannot be mounted on a directory",
				"Use a file as the target, such as one that touch(1) makes.",
			];
			const useDirectory = [
				"a directory cannot be mounted on a file",
				"Use a directory as the target, such as one that mkdir(1) makes.",
			];
			const mount = (options: Parameters<typeof mountIdmapped>[0]) => () =>
				mountIdmapped({ ...options, mapping: MAP });
			const before = readFileSync("/proc/self/mountinfo", "utf8");
			const open = readdirSync("/proc/self/fd").length;
			for (const [[message = "", hint], call] of [
				[useFile, mount({ source: file, target: source })],
				[useFile, mount({ source: file, target: "source", targetRoot: folder })],
				[useFile, mount({ source: fds[0], target: fds[1] })],
				[useFile, mount({ source: file, target, recursive: true })],
				...(olderThan("6.5") === undefined
					? ([[useFile, mount({ source: file, target, replace: true })]] as const)
					: []),
				[useFile, () => detached.attach(target)],
				[useDirectory, mount({ source, target: file })],
				[useDirectory, mount({ source, target: "file", targetRoot: folder })],
				[useDirectory, mount({ source, target: file, recursive: true })],
				[useDirectory, mount({ source, target: file, propagation: "shared" })],
				[useDirectory, () => overlay({ lower: [source, target], target: file, mapping: MAP })],
			] as const) {
				await assert.rejects(call, (error: UsernsError) => {
					assert.ok(error.message.includes(`: ${message}: `), error.message);
					assert.deepEqual([error.hint, error.code], [hint, "ERR_USERNS_MOUNT"]);
					return true;
				});
			}
			assert.equal(readdirSync("/proc/self/fd").length, open, "a descriptor is left");
			assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), before);
			fds.forEach(closeSync);
			// The hint, followed.
			sh("touch", join(folder, "made"));
			await detached.attach(join(folder, "made"));
			await detached.unmount();
			type Case = [Parameters<typeof mountIdmapped>[0], RegExp];
			const cases: Case[] = [
				[{ source, target: join(file, "below"), mapping: MAP }, path],
				[{ source: join(file, "below"), target, mapping: MAP }, path],
				[{ source: join(file, "below"), target, mapping: MAP, recursive: true }, path],
			];
			for (const [options, hint] of cases) {
				await assert.rejects(mountIdmapped(options), (error: UsernsError) => {
					assert.match(error.hint, hint, error.message);
					assert.ok(error.hint.length <= 200);
					return true;
				});
			}
		}),
);

test("a user who may not mount is told that before a refusal of the mapping", {
	needs: ["linux", "root", "ordinary"],
}, () => {
	const body = (map: string) => `
		const error = await userns.mountIdmapped({ source: "/", mapping: "${map}" }).catch((e) => e);
		console.log(JSON.stringify(error));`;
	for (const map of ["0:2100000000:65536", "0:200000:65536"]) {
		const error = askAs<UsernsError>(freshUser(), body(map));
		assert.equal(error.code, "ERR_USERNS_MOUNT");
		assert.match(error.message, /^cannot mount "\/" with the mapping .*: copying the source's mount: EPERM/);
		assert.match(
			error.hint,
			/^Run it as root: this process has uid \d+ and lacks CAP_SYS_ADMIN, and mounting needs it\.$/,
		);
	}
});

test("root of a user namespace is told that it may not mount or map, before a refusal of the mapping", {
	needs: ["linux", "root", "ordinary"],
}, () => {
	const ask = (through: string[], source: string) =>
		askAs<UsernsError>(
			freshUser({ through, asRoot: true }),
			`console.log(JSON.stringify(await userns.mountIdmapped({ source: "${source}", mapping: "0:2100000000:65536" }).catch((e) => e)));`,
		);
	const outside = ask(["unshare", "--user", "--map-root-user"], "/");
	assert.equal(outside.code, "ERR_USERNS_MOUNT");
	assert.match(outside.hint, /^Run it as root outside this user namespace.*does not own its mount namespace/);
	const inside = ["unshare", "--user", "--map-root-user", "--mount"];
	assert.match(ask(inside, "/nonexistent").message, /opening the source: ENOENT/);
	if (olderThan("6.3") !== undefined) return; // the others are tmpfs, which cannot be mapped
	const foreign = ask(inside, "/mnt/bin");
	assert.equal(foreign.code, "ERR_USERNS_MOUNT");
	assert.match(
		foreign.hint,
		/^Run it as root outside this user namespace.*the file system was mounted outside it/,
	);
	// On a file system of the user namespace the mapping is the reason.
	const tmpfs = ["sh", "-c", 'mount -t tmpfs own /mnt && exec "$@"', "sh"];
	assert.equal(ask([...inside, ...tmpfs], "/mnt").code, "ERR_USERNS_UNMAPPED_ID");
});

test("wrong options, and a mapping of one kind, throw before any system call", async () => {
	const source = "/definitely/not/there"; // the kernel would return ENOENT
	const cases: [unknown, string, RegExp][] = [
		[undefined, "ERR_USERNS_INVALID_ARGUMENT", /missing/],
		[{ source, mapping: MAP, targett: "/x" }, "ERR_USERNS_INVALID_ARGUMENT", /unknown option "targett"/],
		[{ source }, "ERR_USERNS_INVALID_ARGUMENT", /mapping, userns and owner are all missing/],
		[{ source: "", mapping: MAP }, "ERR_USERNS_INVALID_ARGUMENT", /path/],
		[{ source: "a\0b", mapping: MAP }, "ERR_USERNS_INVALID_ARGUMENT", /path/],
		[{ source: -1, mapping: MAP }, "ERR_USERNS_INVALID_ARGUMENT", /descriptor/],
		[{ source: 2 ** 31, mapping: MAP }, "ERR_USERNS_INVALID_ARGUMENT", /descriptor/],
		[{ source, target: -3, mapping: MAP }, "ERR_USERNS_INVALID_ARGUMENT", /target/],
		[{ source, mapping: MAP, readonly: "yes" }, "ERR_USERNS_INVALID_ARGUMENT", /readonly/],
		[{ source, mapping: MAP, atime: "sometimes" }, "ERR_USERNS_INVALID_ARGUMENT", /atime/],
		[{ source, mapping: MAP, propagation: "toString" }, "ERR_USERNS_INVALID_ARGUMENT", /propagation/],
		[{ source, mapping: MAP, recursiveIdmap: true }, "ERR_USERNS_INVALID_ARGUMENT", /recursiveIdmap/],
		[{ source, userns: {} }, "ERR_USERNS_INVALID_ARGUMENT", /UserNamespace/],
		[{ source, mapping: MAP, handles: {} }, "ERR_USERNS_INVALID_ARGUMENT", /Handles/],
		[{ source, mapping: "u:0:1:1" }, "ERR_USERNS_INVALID_MAPPING", /uids and gids.*uids but no gids/],
		[{ source, mapping: "g:0:1:1" }, "ERR_USERNS_INVALID_MAPPING", /uids and gids.*gids but no uids/],
		[{ source, mapping: {} }, "ERR_USERNS_INVALID_MAPPING", /must have the key uidMappings or gidMappings/],
	];
	for (const [options, code, message] of cases) {
		await assert.rejects(
			mountIdmapped(options as Parameters<typeof mountIdmapped>[0]),
			(error: UsernsError) => {
				assert.equal(error.code, code, error.message);
				assert.match(error.message, message);
				return true;
			},
		);
	}
});

test("util.inspect() shows the target, the mount ID and whether the mount is closed", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const mount = await mountIdmapped({ source, target, mapping: MAP });
		const shown = (closed: boolean) => ({ target, mountId: mount.mountId, closed });
		assert.equal(inspect(mount), `IdmappedMount ${inspect(shown(false))}`);
		await mount.unmount();
		assert.equal(inspect(mount), `IdmappedMount ${inspect(shown(true))}`);
	}),
);

test("a userns with a mapping of one kind is refused for a mount too", { needs }, () =>
	withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		const userns = UserNamespace.createSync("u:0:100000:10");
		await assert.rejects(
			mountIdmapped({ source, target, userns }),
			failure("ERR_USERNS_INVALID_MAPPING", /uids but no gids/),
		);
		userns.close();
	}),
);
