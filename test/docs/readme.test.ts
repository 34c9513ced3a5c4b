import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ask, root } from "../support/child.ts";
import { mkdirs, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

test("the example of the README runs as it stands", { needs: ["linux", "root", "mounts"] }, () =>
	withTmpfs((folder) => {
		const [source = "", target = ""] = mkdirs(folder, "srv", "mnt");
		writeFileSync(join(source, "file"), "");
		const example = /```ts\n([\s\S]*?)```/.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1] ?? "";
		const script = example
			.replace(/import (\{.*\}) from "userns";/, "const $1 = userns;")
			.replace('"/srv/data"', JSON.stringify(source))
			.replace('"/mnt/data"', JSON.stringify(target))
			.replace(
				"await mount.unmount();",
				`const seen = (await import("node:fs")).statSync("${target}/file").uid;\n$&`,
			)
			.replace(/console\.log\((.*)\);/, "console.log(JSON.stringify([seen, $1]));");
		const [seen, fd, inode, text] = ask<[number, number, number, string]>(script);
		assert.equal(seen, 2100000000);
		assert.ok(fd > 2);
		assert.ok(inode > 0);
		assert.equal(text, "0:2100000000:65536");
		assert.equal(statSync(join(target)).uid, 0);
	}),
);
