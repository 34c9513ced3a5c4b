import assert from "node:assert/strict";
import { once } from "node:events";
import { UserNamespace } from "../../src/index.ts";
import { ask } from "../support/child.ts";
import { test } from "../support/test.ts";

interface Result {
	/** The entry of mounts() for it. */
	seen: string;
	code?: string;
	message?: string;
	composed?: string;
}

/** In a user namespace with 65,536 IDs, composes with a mount that the host has mapped there. */
async function compose(hostMap: string): Promise<Result> {
	const ns = await UserNamespace.create("0:100000:65536", { setgroups: "allow" });
	const shell = ns.spawn(
		"sh",
		["-c", "mount -t tmpfs t /mnt && mkdir /mnt/a /mnt/b /mnt/c && echo ready && cat"],
		{
			unshare: ["mount"],
			stdio: ["pipe", "pipe", "inherit"],
		},
	);
	try {
		await once(shell.stdout as NonNullable<typeof shell.stdout>, "data");
		const there = ["nsenter", "-t", String(shell.pid)];
		ask(
			`(await userns.mountIdmapped({ source: "/mnt/a", target: "/mnt/b", mapping: "${hostMap}" })).close();
			console.log(1);`,
			{ prefix: [...there, "-m", "--"] },
		);
		return ask<Result>(
			`const seen = String(userns.mounts({}).find((m) => m.mountPoint === "/mnt/b").mapping);
			try {
				const mount = await userns.mountIdmapped({ source: "/mnt/b", mapping: "0:20:15" });
				console.log(JSON.stringify({ seen, composed: mount.mapping.id }));
				mount.close();
			} catch ({ code, message }) { console.log(JSON.stringify({ seen, code, message })); }`,
			{ prefix: [...there, "-U", "-m", "-S", "0", "-G", "0", "--"] },
		);
	} finally {
		shell.stdin?.end();
		await once(shell, "close");
		ns.close();
	}
}

test("a map that the kernel shows incompletely to a nested namespace is not composed", {
	needs: ["linux", "root", "mounts", "linux:6.15", "path:/mnt", "tool:nsenter"],
}, async () => {
	const result = await compose("0:100000:10,10:999:5");
	assert.equal(result.seen, "0:0:10", "the kernel shows a part of the map, and not that it is one");
	assert.equal(result.code, "ERR_USERNS_MOUNT");
	assert.match(result.message ?? "", /does not map every ID/);
	assert.equal(result.composed, undefined);
});
