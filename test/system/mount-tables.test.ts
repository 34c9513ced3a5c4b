import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import {
	fromOci,
	type IdmappedMount,
	type MountIdmappedOptions,
	mountIdmapped,
	overlay,
	unmount,
} from "../../src/index.ts";
import { root, sh } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

/*
 * The oracle is the mount table of each process concerned, before and after: of this process, which has the source; of
 * the container; and of a process whose mount namespace is a peer of the target's. The test unmounts what it mounted,
 * so each table must be unchanged, line by line and number by number.
 */

const needs = ["linux", "root", "mounts", "tool:unshare", "tool:nsenter", "linux:6.15"] as const;
const MAP = "0:100000:65536";

type Kind = "shared" | "slave" | "private" | "unbindable";

/** A tmpfs with another one below it, both with that propagation. */
function makeSource(top: string, kind: Kind): string {
	const [master = "", source = ""] = mkdirs(top, "master", "source");
	const path = kind === "slave" ? master : source;
	sh("mount", "-t", "tmpfs", "source", path);
	sh("mount", "--make-private", path);
	const [db = ""] = mkdirs(path, "db");
	sh("mount", "-t", "tmpfs", "db", db);
	writeFileSync(join(db, "precious"), "");
	sh("mount", kind === "slave" ? "--make-rshared" : `--make-r${kind}`, path);
	if (kind !== "slave") return source;
	sh("mount", "--rbind", master, source);
	sh("mount", "--make-rslave", source);
	return source;
}

/** A process in a mount namespace that is a copy of that process's, with the same peer groups. */
async function startPeer(of: number | "self"): Promise<ChildProcess> {
	const enter = of === "self" ? [] : ["nsenter", `--target=${of}`, "--mount"];
	const script = "echo ready; exec sleep 1000";
	const [program = "", ...args] = [
		...enter,
		"unshare",
		"--mount",
		"--propagation",
		"unchanged",
		"sh",
		"-c",
		script,
	];
	const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
	await once(child.stdout as NonNullable<typeof child.stdout>, "data");
	return child;
}

interface Stage {
	/** The propagation of the mount at the target. */
	parent: string;
	source: string;
	/** Another directory, without submounts. */
	plain: string;
	/** A process in the target's mount namespace. */
	target: string;
	old: string;
	into: { into: number } | Record<never, never>;
	/** Runs a program there. */
	there: (...command: string[]) => string;
}

interface Call {
	name: string;
	/** Returns whether the mount table showed a new mount, as the control. */
	act: (stage: Stage, isMounted: () => boolean) => Promise<boolean>;
	/** Whether it needs a source that can be copied. */
	copies: boolean;
	/**
	 * The peers of the parent keep a copy: they received it with submounts, or it got one later, and an unmount does
	 * not propagate to such a copy (docs/mounts.md).
	 */
	peersDiffer?: boolean;
}

const failed = (work: Promise<unknown>) =>
	work.then(
		() => false,
		() => true,
	);

async function seen(mount: IdmappedMount, isMounted: () => boolean): Promise<boolean> {
	const there = isMounted();
	await mount.unmount();
	return there;
}

/** Mounts and unmounts with these options. */
function simple(name: string, options: Partial<MountIdmappedOptions>): Call {
	return {
		name,
		copies: true,
		act: async ({ source, target, into, parent }, isMounted) => {
			const made = mountIdmapped({ source, target, mapping: MAP, ...into, ...options });
			// An unbindable mount cannot be attached to a shared one (do_move_mount() in fs/namespace.c).
			if (options.propagation === "unbindable" && parent === "shared") return failed(made);
			return seen(await made, isMounted);
		},
	};
}

const PROPAGATION = ["private", "shared", "slave", "unbindable"] as const;

/** The mount is unmounted by its path, recursively, after the object is closed. */
function byPath(
	name: string,
	options: Partial<MountIdmappedOptions>,
	between: (stage: Stage) => () => void,
	peersDiffer = false,
): Call {
	return {
		name,
		copies: true,
		peersDiffer,
		act: async (stage, isMounted) => {
			const { source, target, into, parent } = stage;
			if (options.propagation === "unbindable" && parent === "shared") return true;
			(await mountIdmapped({ source, target, mapping: MAP, ...into, ...options })).close();
			const there = isMounted();
			const end = between(stage);
			unmount(target, { recursive: true, ...into });
			end();
			return there;
		},
	};
}

const nothing = () => () => {};

const CALLS: Call[] = [
	...PROPAGATION.flatMap((propagation) => [
		simple(`mountIdmapped, ${propagation}`, { propagation }),
		simple(`mountIdmapped, ${propagation}, recursive`, { propagation, recursive: true }),
		byPath(`unmount(path, recursive), ${propagation}`, { propagation, recursive: true }, nothing),
	]),
	{
		name: "fromOci with rbind, rshared, ridmap",
		copies: true,
		act: async ({ source, target, into }, isMounted) => {
			const entry = { source, destination: target, options: ["rbind", "rshared", "ridmap"] };
			return seen(await mountIdmapped({ ...fromOci(entry, { container: MAP }), ...into }), isMounted);
		},
	},
	byPath(
		"unmount(path, recursive) after another program's rbind of the source",
		{},
		({ source, target, there, into }) => {
			if ("into" in into) return () => {};
			mkdirs(target, "db");
			there("mount", "--rbind", source, join(target, "db"));
			return () => {};
		},
	),
	byPath(
		"unmount(path, recursive) of a shared one after a mount below the source",
		{ propagation: "shared" },
		({ source }) => {
			const [later = ""] = mkdirs(source, "later");
			sh("mount", "-t", "tmpfs", "later", later);
			return () => {
				sh("umount", later); // fails if it is gone
			};
		},
		true,
	),
	{
		name: "attach, and unmount",
		copies: true,
		peersDiffer: true,
		act: async ({ source, target, into }, isMounted) => {
			const mount = await mountIdmapped({ source, mapping: MAP, recursive: true, propagation: "shared" });
			await mount.attach(target, into);
			return seen(mount, isMounted);
		},
	},
	{
		name: "close of a detached tree",
		copies: true,
		act: async ({ source }) => {
			for (const propagation of PROPAGATION) {
				(await mountIdmapped({ source, mapping: MAP, recursive: true, propagation })).close();
			}
			return true;
		},
	},
	{
		name: "a tree that is put together mount by mount",
		copies: true,
		act: async ({ source, target, into }, isMounted) => {
			const [other = ""] = mkdirs(source, "other");
			sh("mount", "-t", "ramfs", "other", other); // a file system that takes no map
			const options = { source, mapping: MAP, recursive: true, skipUnsupported: true };
			assert.ok(await failed(mountIdmapped({ ...options, propagation: "shared" })), "no peer of its source");
			(await mountIdmapped(options)).close();
			const there = await seen(await mountIdmapped({ ...options, target, ...into }), isMounted);
			await seen(await mountIdmapped({ ...options, target, ...into, propagation: "slave" }), isMounted);
			sh("umount", other); // fails if it is gone
			return there;
		},
	},
	{
		name: "an attach that fails",
		copies: true,
		act: async ({ source, target, into }) => {
			const options = { source, mapping: MAP, recursive: true, propagation: "shared", ...into } as const;
			assert.ok(await failed(mountIdmapped({ ...options, target: `${target}/none/none` })));
			assert.ok(await failed(mountIdmapped({ ...options, target: `${target}-file` })));
			return true;
		},
	},
	{
		name: "replace over an rbind of the source",
		copies: true,
		peersDiffer: true,
		act: async ({ source, plain, old, into, there }) => {
			if ("into" in into) return true;
			there("mount", "--rbind", source, old);
			await (await mountIdmapped({ source: plain, target: old, mapping: MAP, replace: true })).unmount();
			there("mount", "--rbind", source, old);
			const detached = await mountIdmapped({ source: plain, mapping: MAP });
			await detached.attach(old, { replace: true });
			await detached.unmount();
			there("mount", "--rbind", source, old);
			const layers = { lower: [plain, `${plain}-2`], mapping: MAP };
			await (await overlay({ ...layers, target: old, replace: true })).unmount();
			return true;
		},
	},
	{
		name: "overlay",
		copies: false,
		act: async ({ plain, target, into }, isMounted) => {
			const mount = await overlay({ lower: [plain, `${plain}-2`], mapping: MAP, target, ...into });
			const there = isMounted();
			await mount.unmount();
			return there;
		},
	},
	{
		name: "a worker that ends before it receives its mount",
		copies: true,
		peersDiffer: true,
		act: async ({ source, target, into }, isMounted) => {
			if ("into" in into) return true;
			const worker = new Worker(
				`const { workerData, parentPort } = require("node:worker_threads");
				const addon = require(workerData.addon);
				const set = 0, shared = ${1 << 20};
				(async () => {
					const made = await addon.tree(-1, workerData.source, 0, [""], [0, 0, -1], true, false, set, 0, shared, -1, true);
					const done = made.error < 0 ? made : await addon.attach(made.fd, made.uniqueId, -1, workerData.target, 0, false, true, shared, -1, true);
					parentPort.postMessage(done.error);
					process.exit();
				})();`,
				{
					eval: true,
					workerData: { source, target, addon: join(root, `prebuilds/userns.linux-${process.arch}.node`) },
				},
			);
			const exit = once(worker, "exit");
			const [error] = await once(worker, "message");
			const there = error === 0;
			await exit;
			return there && !isMounted();
		},
	},
];

async function runAll(stage: Stage, kind: Kind, concerned: Record<string, number | "self">): Promise<void> {
	const tables = () =>
		Object.entries(concerned).map(
			([who, pid]) => [who, readFileSync(`/proc/${pid}/mountinfo`, "utf8")] as const,
		);
	const where = "into" in stage.into ? stage.into.into : "self";
	const isMounted = () =>
		readFileSync(`/proc/${where}/mountinfo`, "utf8")
			.split("\n")
			.some((line) => line.split(" ")[4] === stage.target);
	for (const call of CALLS) {
		const before = tables();
		const mounted = await call.act(stage, isMounted).catch((error: unknown) => error);
		// An unbindable source cannot be copied, so each of these calls fails.
		if (kind === "unbindable" && call.copies) cleanUp(stage);
		else assert.equal(mounted, true, `${call.name}: it was mounted meanwhile`);
		for (const [index, [who, table]] of tables().entries()) {
			if (call.peersDiffer && who === "the peer") continue;
			assert.equal(table, before[index]?.[1], `${call.name}: the table of ${who}`);
		}
	}
}

/** The mounts that a failed call prepared and must undo. */
function cleanUp({ source, old, target, into }: Stage): void {
	for (const path of [join(source, "other"), join(source, "later")]) while (isAt(path)) sh("umount", path);
	if ("into" in into) return;
	for (const path of [join(target, "db"), old, target]) while (isAt(path)) sh("umount", "-l", path);
}

function isAt(path: string): boolean {
	return readFileSync("/proc/self/mountinfo", "utf8")
		.split("\n")
		.some((line) => line.split(" ")[4] === path);
}

/** Runs `body` beside a process in a copy of that mount namespace, and ends the process. */
async function withPeer(of: number | "self", body: (pid: number) => Promise<void>): Promise<void> {
	const peer = await startPeer(of);
	const closed = once(peer, "close");
	try {
		await body(peer.pid as number);
	} finally {
		peer.kill("SIGKILL");
		await closed;
	}
}

function here(kind: Kind, parent: string): Promise<void> {
	return withTmpfs(async (top) => {
		sh("mount", `--make-${parent}`, top);
		const source = makeSource(top, kind);
		const [plain = "", target = "", old = ""] = mkdirs(top, "plain", "target", "old", "plain-2");
		writeFileSync(`${target}-file`, "");
		await withPeer("self", async (peer) => {
			const stage = { parent, source, plain, target, old, into: {}, there: sh };
			await runAll(stage, kind, { "the source": "self", "the peer": peer });
		});
	});
}

function into(kind: Kind, parent: string, mapping: string | undefined): Promise<void> {
	return withTmpfs(async (top) => {
		sh("mount", "--make-private", top);
		const source = makeSource(top, kind);
		const [plain = ""] = mkdirs(top, "plain", "plain-2");
		const container = await startContainer(top, "pivot", mapping);
		try {
			const { pid } = container;
			const user = mapping === undefined ? [] : ["--user", "--setuid=0", "--setgid=0"];
			const there = (...command: string[]) =>
				sh("nsenter", `--target=${pid}`, "--mount", ...user, ...command);
			there("touch", "/data-file");
			there("mount", `--make-${parent}`, "/");
			await withPeer(pid, async (peer) => {
				const stage = { parent, source, plain, target: "/data", old: "/old", into: { into: pid }, there };
				await runAll(stage, kind, { "the source": "self", "the container": pid, "the peer": peer });
			});
		} finally {
			await container.end();
		}
	});
}

for (const kind of ["shared", "slave", "private", "unbindable"] as const) {
	for (const parent of ["shared", "private"] as const) {
		const what = `the mount tables are the same after every call: a ${kind} source`;
		test(`${what}, here under a ${parent} parent`, { needs }, () => here(kind, parent));
		test(`${what}, into a container under a ${parent} parent`, { needs }, () =>
			into(kind, parent, undefined),
		);
		test(`${what}, into a container with its own user namespace, under a ${parent} parent`, { needs }, () =>
			into(kind, parent, MAP),
		);
	}
}
