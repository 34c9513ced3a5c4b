import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { after, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type AttachOptions, Handles, mountIdmapped, UsernsError } from "../../src/index.ts";
import { sh } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { removeSwapper, whileSwapping } from "../support/swapping.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "tool:cc"] as const;
const LONG = process.env.USERNS_LONG === "1";
const ATTEMPTS = LONG ? 20_000 : 1500;
/** How many swaps the attacker makes at least while the mounts are made. */
const SWAPS = LONG ? 100_000 : 1000;

after(removeSwapper);

/** The mount points at or below a folder, as that process sees them. */
function mountsBelow(folder: string, process: number | "self" = "self"): string[] {
	return readFileSync(`/proc/${process}/mountinfo`, "utf8")
		.split("\n")
		.map((line) => line.split(" ")[4] ?? "")
		.filter((point) => point === folder || point.startsWith(`${folder}/`));
}

/**
 * jail/way is a directory at one moment and a symbolic link out of the jail at the next. Both lead to a "spot". A
 * caller that looks the path up twice, or follows the link, mounts in the victim's folder.
 */
async function withWays(
	body: (locations: {
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

interface Attack {
	attempts: number;
	/** The target of each mount. */
	target: string;
	options: AttachOptions;
	/** The errors that the kernel may return for the link. */
	refusals: RegExp;
	/** The mount points in the victim's folder, and in the jail. */
	outside(): string[];
	inside(): string[];
}

/** Mounts in a loop while a directory and a link are swapped, and checks each time where the mount is. */
async function attack(
	t: TestContext,
	source: string,
	[way, other]: [string, string],
	{ attempts, target, options, refusals, outside, inside }: Attack,
): Promise<void> {
	const handles = new Handles();
	let mounted = 0;
	let refused = 0;
	await whileSwapping(way, other, async (swaps) => {
		const before = swaps();
		for (let i = 0; i < attempts || swaps() - before < SWAPS; i++) {
			try {
				const mount = await mountIdmapped({ source, target, mapping: "0:100000:10", handles, ...options });
				assert.deepEqual(outside(), []);
				await mount.unmount();
				mounted++;
			} catch (error) {
				if (!(error instanceof UsernsError)) throw error;
				assert.equal(error.code, "ERR_USERNS_MOUNT");
				assert.match(error.errnoCode ?? "", refusals);
				assert.deepEqual(outside(), []);
				refused++;
			}
		}
		t.diagnostic(`${mounted} mounts, ${refused} refusals, ${swaps() - before} swaps, 0 mounts outside`);
	});
	handles.release();
	assert.deepEqual(outside(), []);
	assert.deepEqual(inside(), []);
	// The control: both outcomes occurred.
	const least = (mounted + refused) / 100;
	assert.ok(mounted > least && refused > least, `${mounted} mounted, ${refused} refused`);
}

const CASES: [
	name: string,
	ask: (jail: string, way: string) => Pick<Attack, "target" | "options" | "refusals">,
][] = [
	[
		"targetRoot",
		(jail) => ({
			target: "/way/spot",
			options: { targetRoot: jail },
			refusals: /^(ENOENT|EAGAIN|EXDEV)$/, // the link leads to a path that does not exist below the root
		}),
	],
	[
		'resolve: "no-symlinks"',
		(_, way) => ({
			target: join(way, "spot"),
			options: { resolve: "no-symlinks" },
			refusals: /^(ELOOP|EAGAIN)$/,
		}),
	],
	[
		"both",
		(jail) => ({
			target: "way/spot",
			options: { targetRoot: jail, resolve: "no-symlinks" },
			refusals: /^(ELOOP|ENOENT|EAGAIN|EXDEV)$/,
		}),
	],
];

const swapping = { needs, timeout: LONG ? 900_000 : 60_000 };

for (const [name, ask] of CASES) {
	test(`${name}: no mount appears outside while a directory and a link are swapped`, swapping, (t) =>
		withWays(({ jail, way, other, victim, source }) =>
			attack(t, source, [way, other], {
				attempts: ATTEMPTS,
				...ask(jail, way),
				outside: () => mountsBelow(victim),
				inside: () => mountsBelow(jail),
			}),
		),
	);
}

test(
	"into: no mount appears outside the container's root while the container swaps a directory and a link",
	{ ...swapping, needs: [...needs, "tool:unshare", "tool:nsenter"] },
	(t) =>
		withTmpfs(async (folder) => {
			const [source = "", victim = ""] = mkdirs(folder, "source", "victim");
			mkdirs(folder, "victim/spot");
			// With chroot(2) alone, the container's mount namespace has all mounts of the host, and only the root
			// directory confines it.
			const container = await startContainer(folder, "chroot");
			// The mountinfo of a process in the chroot leaves out what is outside. This process has the namespace's
			// root.
			const witness = spawn("nsenter", ["--target", `${container.pid}`, "--mount", "sleep", "10000"]);
			const gone = once(witness, "close");
			try {
				const root = `/proc/${container.pid}/root`;
				const [way = ""] = mkdirs(root, "way");
				mkdirs(root, "way/spot");
				const other = join(root, "other");
				symlinkSync(victim, other);
				await once(witness, "spawn");
				const seen = (path: string) => mountsBelow(path, witness.pid);
				while (seen(container.root).length === 0) await sleep(5);
				const inNamespace = (...command: string[]) =>
					sh("nsenter", "--target", `${container.pid}`, "--mount", ...command);
				inNamespace("mount", "--bind", source, join(victim, "spot"));
				assert.deepEqual(seen(victim), [join(victim, "spot")], "the witness does not see what is outside");
				inNamespace("umount", join(victim, "spot"));
				await attack(t, source, [way, other], {
					attempts: LONG ? ATTEMPTS : ATTEMPTS / 5, // each attempt takes a process
					target: "/way/spot",
					options: { into: container.pid },
					refusals: /^(ENOENT|EAGAIN|EXDEV)$/,
					outside: () => [...seen(victim), ...mountsBelow(victim)],
					inside: () => seen(join(container.root, "way")),
				});
			} finally {
				witness.kill("SIGKILL");
				await gone;
				await container.end();
			}
		}),
);

test("the control: mount(8) mounts outside if the path was checked before the mount", { needs }, () =>
	withWays(async ({ way, other, victim, source }) => {
		let outside = 0;
		await whileSwapping(way, other, async () => {
			for (let i = 0; i < 2000 && outside === 0; i++) {
				// The check that a careful script makes, and the mount that follows.
				const script = 'test -d "$1" && test ! -L "$1" && mount --bind "$2" "$1/spot"';
				spawnSync("sh", ["-c", script, "sh", way, source]);
				outside += mountsBelow(victim).length;
			}
		});
		assert.ok(outside > 0, "the attacker never won, so this shows nothing of the others");
	}),
);

test("targetRoot and resolve allow and refuse the same paths when nothing is swapped", { needs }, () =>
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
			[{}, join(other, "spot"), join(victim, "spot")], // without these options links are followed, as everywhere
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
		// resolve: "no-symlinks" refuses a link in the source's path too.
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
