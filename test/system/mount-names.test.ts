import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { mountIdmapped } from "../../src/index.ts";
import { sh } from "../support/child.ts";
import { failure } from "../support/errors.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "linux:6.3"] as const;

/** A source with a mount of that type on a directory whose name is one byte that is not UTF-8. */
function withOddName(type: string, body: (source: string, target: string) => Promise<void>): Promise<void> {
	return withTmpfs(async (folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "target");
		mkdirSync(Buffer.concat([Buffer.from(`${source}/`), Buffer.of(0xff)]));
		sh("sh", "-c", `cd "$1" && mount -t ${type} odd "$(printf '\\377')"`, "sh", source);
		await body(source, target);
	});
}

test("a tree with a name that is not UTF-8 is copied as a whole", { needs }, () =>
	withOddName("tmpfs", async (source, target) => {
		const mount = await mountIdmapped({ source, target, mapping: "0:5:1", recursive: true });
		assert.equal(sh("sh", "-c", `stat -c %u "$1"/*`, "sh", target).trim(), "5");
		await mount.unmount();
	}),
);

test(
	"a tree with a name that is not UTF-8 cannot be copied mount by mount, and the error names the reason",
	{ needs },
	() =>
		withOddName("ramfs", (source, target) =>
			assert.rejects(
				mountIdmapped({ source, target, mapping: "0:5:1", recursive: true, skipUnsupported: true }),
				failure("ERR_USERNS_MOUNT", /path of the ramfs at .* is not UTF-8/),
			),
		),
);
