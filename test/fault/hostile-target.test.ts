import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type AttachOptions, Handles, mountIdmapped, UsernsError } from "../../src/index.ts";
import { root, sh } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "tool:cc"] as const;
const LONG = process.env.USERNS_LONG === "1";
const ATTEMPTS = LONG ? 20_000 : 1500;

let tools: string | undefined;
after(() => {
	if (tools !== undefined) rmSync(tools, { recursive: true });
});

/** A process that exchanges two names for as long as the body runs; answers how often it did. */
async function whileSwapping(a: string, b: string, body: () => Promise<void>): Promise<number> {
	if (tools === undefined) {
		tools = mkdtempSync(join(tmpdir(), "userns-swapper-"));
		sh("cc", "-O2", "-o", join(tools, "swapper"), join(root, "test/support/swapper.c"));
	}
	const swapper: ChildProcess = spawn(join(tools, "swapper"), [a, b], {
		stdio: ["ignore", "pipe", "inherit"],
	});
	let swaps = 0;
	swapper.stdout?.setEncoding("utf8").on("data", (text: string) => {
		swaps = Number(text.trim().split("\n").at(-1));
	});
	try {
		while (swaps === 0 && swapper.exitCode === null) await sleep(5);
		await body();
		return swaps;
	} finally {
		swapper.kill("SIGKILL");
		if (swapper.exitCode === null && swapper.signalCode === null) await once(swapper, "close");
	}
}

/** The mount points at or below a folder. */
function mountsBelow(folder: string): string[] {
	return readFileSync("/proc/self/mountinfo", "utf8")
		.split("\n")
		.map((line) => line.split(" ")[4] ?? "")
		.filter((point) => point === folder || point.startsWith(`${folder}/`));
}

/**
 * jail/way is a directory at one moment and a symbolic link out of the jail at the next; both lead to a "spot". Whoever
 * looks the way up twice, or follows the link, mounts in the victim's folder.
 */
async function withWays(
	body: (places: {
		jail: string;
		way: string;
		other: string;
		victim: string;
		source: string;
	}) => Promise<void>,
): Promise<void> {
	await withTmpfs(async (folder) => {
		const [jail = "", victim = "", source = "", way = ""] = mkdirs(
			folder,
			"jail",
			"victim",
			"source",
			"jail/way",
		);
		mkdirs(folder, "jail/way/spot", "victim/spot");
		const other = join(jail, "other");
		symlinkSync(victim, other);
		await body({ jail, way, other, victim, source });
	});
}

const CASES: [
	name: string,
	(jail: string, way: string) => { target: string; options: AttachOptions },
	refusals: RegExp,
][] = [
	[
		"targetRoot",
		(jail) => ({ target: "/way/spot", options: { targetRoot: jail } }),
		/^(ENOENT|EAGAIN|EXDEV)$/, // the link leads to a place that is not there below the root
	],
	[
		'resolve: "no-symlinks"',
		(_, way) => ({ target: join(way, "spot"), options: { resolve: "no-symlinks" } }),
		/^(ELOOP|EAGAIN)$/,
	],
	[
		"both",
		(jail) => ({ target: "way/spot", options: { targetRoot: jail, resolve: "no-symlinks" } }),
		/^(ELOOP|ENOENT|EAGAIN|EXDEV)$/,
	],
];

for (const [name, ask, refusals] of CASES) {
	test(
		`${name}: nothing is ever mounted outside while a directory and a link are swapped`,
		{
			needs,
			timeout: LONG ? 600_000 : 60_000,
		},
		() =>
			withWays(async ({ jail, way, other, victim, source }) => {
				const handles = new Handles();
				const { target, options } = ask(jail, way);
				let mounted = 0;
				let refused = 0;
				const swaps = await whileSwapping(way, other, async () => {
					for (let i = 0; i < ATTEMPTS; i++) {
						try {
							const mount = await mountIdmapped({
								source,
								target,
								mapping: "0:100000:10",
								handles,
								...options,
							});
							assert.deepEqual(mountsBelow(victim), []);
							await mount.unmount();
							mounted++;
						} catch (error) {
							if (!(error instanceof UsernsError)) throw error;
							assert.equal(error.code, "ERR_USERNS_MOUNT");
							assert.match(error.errnoCode ?? "", refusals);
							refused++;
						}
					}
				});
				handles.release();
				assert.deepEqual(mountsBelow(victim), []);
				assert.deepEqual(mountsBelow(jail), []);
				// Both ways were met, or this shows nothing.
				assert.ok(
					mounted > ATTEMPTS / 100 && refused > ATTEMPTS / 100,
					`${mounted} mounted, ${refused} refused`,
				);
				assert.ok(swaps >= 1000, `${swaps} swaps`);
			}),
	);
}

test("the control: mount(8) with a path that was checked before does mount outside", { needs }, () =>
	withWays(async ({ way, other, victim, source }) => {
		let outside = 0;
		await whileSwapping(way, other, async () => {
			for (let i = 0; i < 2000 && outside === 0; i++) {
				// The check that a careful script would make, and the mount that follows it.
				const script = 'test -d "$1" && test ! -L "$1" && mount --bind "$2" "$1/spot"';
				spawnSync("sh", ["-c", script, "sh", way, source]);
				outside += mountsBelow(victim).length;
			}
		});
		assert.ok(outside > 0, "the attacker never won, so this shows nothing of the others");
	}),
);

test("without anybody who swaps: what the two options allow and refuse", { needs }, () =>
	withWays(async ({ jail, way, other, victim, source }) => {
		const base = { source, mapping: "0:100000:10" };
		const cases: [AttachOptions, string, string | undefined, string?][] = [
			[{ targetRoot: jail }, "/way/spot", join(way, "spot")],
			[{ targetRoot: jail }, "way/../way/spot", join(way, "spot")],
			[{ targetRoot: jail }, "../../../../way/spot", join(way, "spot")],
			[{ targetRoot: jail }, "/other/spot", undefined, "ENOENT"], // the victim's path does not exist below the jail
			[{ targetRoot: jail, resolve: "no-symlinks" }, "/other/spot", undefined, "ELOOP"],
			[{ resolve: "no-symlinks" }, join(other, "spot"), undefined, "ELOOP"],
			[{ resolve: "no-symlinks" }, join(way, "spot"), join(way, "spot")],
			[{}, join(other, "spot"), join(victim, "spot")], // asked for nothing, links are followed as everywhere
			[{ targetRoot: join(jail, "none") }, "/way/spot", undefined, "ENOENT"],
		];
		for (const [options, target, where, errno] of cases) {
			const mounting = mountIdmapped({ ...base, target, ...options });
			if (where === undefined) {
				await assert.rejects(mounting, (error: UsernsError) => {
					assert.equal(error.errnoCode, errno, error.message);
					assert.ok(error.hint);
					return true;
				});
				continue;
			}
			const mount = await mounting;
			assert.deepEqual([...mountsBelow(jail), ...mountsBelow(victim)], [where]);
			await mount.unmount();
		}
		// A link in the source's path is refused too.
		await assert.rejects(
			mountIdmapped({
				source: join(other, "spot"),
				target: join(way, "spot"),
				mapping: "0:1:1",
				resolve: "no-symlinks",
			}),
			(error: UsernsError) => error.errnoCode === "ELOOP" && error.code === "ERR_USERNS_MOUNT",
		);
		assert.deepEqual([...mountsBelow(jail), ...mountsBelow(victim)], []);
	}),
);
