import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ask, root, sh } from "../support/child.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root"] as const;

function withFolder(body: (folder: string) => void): void {
	const folder = mkdtempSync(join(tmpdir(), "userns-slow-"));
	try {
		body(folder);
	} finally {
		rmSync(folder, { recursive: true });
	}
}

/** Creates namespaces, looks a path up, and returns which ended first: all of that, or the first slow call. */
const race = `const rest = (async () => {
		const made = await Promise.all(Array.from({ length: 20 }, (_, i) => userns.UserNamespace.create("0:" + (i + 1) + ":1")));
		for (const namespace of made) namespace.close();
		const { code } = await userns.unmountAsync("/proc/self").catch((error) => error);
		return code;
	})();
	console.log(JSON.stringify(await Promise.race([rest, ...slow])));`;

test(
	"four descriptors that take seconds to close hold up neither a creation nor the look-up of a path",
	{
		needs: [...needs, "tool:cc"],
	},
	() =>
		withFolder((folder) => {
			const program = join(folder, "slow-close");
			sh("cc", "-O2", "-D_GNU_SOURCE", "-o", program, join(root, "test/support/programs/slow-close.c"));
			const code = ask<string>(
				`import fs from "node:fs";
				import { createRequire } from "node:module";
				const addon = createRequire(USERNS)(new URL("../../../prebuilds/userns.linux-" + process.arch + ".node", USERNS).pathname);
				const slow = [10, 11, 12, 13].map((fd) => {
					const copy = addon.duplicate(fd).fd;
					fs.closeSync(fd);
					return addon.closeLater(copy).then(() => "closed");
				});
				await new Promise((next) => setTimeout(next, 100));
				${race}`,
				{ prefix: [program, "4", "4"] },
			);
			assert.equal(code, "ERR_USERNS_UNMOUNT");
		}),
);

test(
	"newuidmap and newgidmap that take seconds hold up no other call, also with more of them than threads",
	{
		needs,
	},
	() =>
		withFolder((folder) => {
			for (const name of ["newuidmap", "newgidmap"]) {
				writeFileSync(join(folder, name), "#!/bin/sh\nexec sleep 4\n", { mode: 0o755 });
			}
			const code = ask<string>(
				`const slow = Array.from({ length: 6 }, () =>
				userns.UserNamespace.create("0:100000:10", { method: "newuidmap" }).then(() => "created", (error) => error.code));
			await new Promise((next) => setTimeout(next, 100));
			${race}`,
				{ env: { PATH: `${folder}:${process.env.PATH}` } },
			);
			assert.equal(code, "ERR_USERNS_UNMOUNT");
		}),
);
