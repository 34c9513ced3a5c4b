import assert from "node:assert/strict";
import { mkdirSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import {
	type PathOptions,
	pin,
	pinAsync,
	supports,
	UsernsError,
	unmount,
	unmountAsync,
} from "../../src/index.ts";
import { withLink } from "../support/hostile-link.ts";
import { mkdirs, mountAt } from "../support/mounts.ts";
import { removeSwapper, whileSwapping } from "../support/swapping.ts";
import { test } from "../support/test.ts";

const LONG = process.env.USERNS_LONG === "1";
const ATTEMPTS = LONG ? 5000 : 300;

after(removeSwapper);

interface Tries {
	done: number;
	refused: number;
}

async function tried(tries: Tries, codes: RegExp, work: () => unknown): Promise<boolean> {
	try {
		await work();
		tries.done++;
		return true;
	} catch (error) {
		if (!(error instanceof UsernsError)) throw error;
		assert.match(error.errnoCode ?? error.message, codes);
		tries.refused++;
		return false;
	}
}

const swapping = {
	needs: ["linux", "root", "mounts", "tool:cc"] as const,
	timeout: LONG ? 900_000 : 120_000,
};

for (const [name, options] of [
	["a directory", {}],
	["a link of root's", {}],
	["a directory", { resolve: "no-symlinks" }],
] as [string, PathOptions][]) {
	test(
		`no other mount is unmounted or created while ${name} and another user's link are swapped: ${JSON.stringify(options)}`,
		swapping,
		(t) =>
			withLink(async ({ home, way, spot, victim, ns }) => {
				const other = join(home, "other");
				mkdirs(home, "real/spot", "other/spot");
				if (name !== "a directory") {
					rmSync(other, { recursive: true });
					symlinkSync("real", other);
				}
				const tries = {
					unmount: { done: 0, refused: 0 },
					pin: { done: 0, refused: 0 },
					supports: { done: 0, refused: 0 },
				};
				const id = mountAt(spot)?.id;
				await whileSwapping(way, other, async (swaps) => {
					const before = swaps();
					for (let i = 0; i < ATTEMPTS || swaps() - before < 1000; i++) {
						const call = i % 2 === 0 ? unmount : unmountAsync;
						// EINVAL: the path led to the directory without a mount. The victim's mount is never unmounted.
						await tried(tries.unmount, /^(EACCES|ELOOP|EINVAL|ENOENT)$/, () =>
							call(join(way, "spot"), options),
						);
						assert.equal(mountAt(spot)?.id, id);
						const made = i % 2 === 0 ? pin : pinAsync;
						await tried(tries.pin, /^(EACCES|ELOOP|EEXIST)$/, () => made(ns, join(way, "ns"), options));
						assert.deepEqual(readdirSync(victim), ["spot"]);
						const found = supports(join(way, "spot"), options);
						const isThere = await tried(tries.supports, /^(EACCES|ELOOP)$/, () => found);
						if (isThere) assert.notEqual((await found).mountPoint, spot);
						for (const folder of [way, other]) {
							await tried({ done: 0, refused: 0 }, /./, () => unmount(join(folder, "ns"), options));
						}
					}
					t.diagnostic(`${swaps() - before} swaps, ${JSON.stringify(tries)}`);
				});
				// The control: both outcomes occurred.
				assert.ok(tries.pin.done > ATTEMPTS / 100 && tries.pin.refused > ATTEMPTS / 100);
				assert.ok(tries.supports.done > ATTEMPTS / 100 && tries.supports.refused > ATTEMPTS / 100);
				for (const folder of [way, other]) if (mountAt(join(folder, "ns"))) unmount(join(folder, "ns"));
			}),
	);
}

test('"..": no other mount is unmounted while the directory before it is moved elsewhere', swapping, (t) =>
	withLink(async ({ folder, home, spot }) => {
		// home/inner and victim/inner are swapped. home/inner/../spot means home/spot, whatever the parent of inner is.
		const [inner = "", elsewhere = ""] = mkdirs(folder, "home/inner", "victim/inner");
		mkdirSync(join(home, "spot"));
		const id = mountAt(spot)?.id;
		const tries = { done: 0, refused: 0 };
		await whileSwapping(inner, elsewhere, async (swaps) => {
			const before = swaps();
			for (let i = 0; i < ATTEMPTS || swaps() - before < 1000; i++) {
				// EINVAL: nothing is mounted on home/spot.
				const call = i % 2 === 0 ? unmount : unmountAsync;
				await tried(tries, /^EINVAL$/, () => call(`${home}/inner/../spot`));
				assert.equal(mountAt(spot)?.id, id);
			}
			t.diagnostic(`${tries.refused} tries, ${swaps() - before} swaps`);
		});
		assert.equal(tries.done, 0);
	}),
);
