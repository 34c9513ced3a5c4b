import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { UserNamespace } from "../../src/index.ts";
import { root, sh } from "../support/child.ts";
import { test } from "../support/test.ts";

const READS = 2000;

test(`whoever lives in the namespace never gets hold of the process that joins to read its map: ${READS} reads`, {
	needs: ["linux", "root", "tool:cc", "tool:nsenter"],
	timeout: 180_000,
}, async () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-attacker-"));
	chmodSync(folder, 0o755);
	const program = join(folder, "attacker");
	sh("cc", "-O2", "-o", program, join(root, "test/support/attacker.c"));
	const ns = await UserNamespace.create("0:100000:65536", { setgroups: "allow" });
	const attacker = spawn("nsenter", ["--user=/proc/self/fd/3", "--setuid", "0", "--setgid", "0", program], {
		stdio: ["ignore", "pipe", "inherit", ns.fd],
	});
	let said = "";
	attacker.stdout?.on("data", (chunk) => {
		said += chunk;
	});
	try {
		while (!said.includes("ready")) await sleep(5);
		const bare = UserNamespace.open(`/proc/self/fd/${ns.fd}`);
		for (let i = 0; i < READS; i++) {
			// A new object each time: a mapping that was read is not read again.
			const again = UserNamespace.open(`/proc/self/fd/${bare.fd}`);
			assert.equal(i % 2 === 0 ? again.mappingSync().id : (await again.mapping()).id, "0:100000:65536");
			again.close();
		}
		bare.close();
		assert.deepEqual(
			said.split("\n").filter((line) => line.startsWith("caught")),
			[],
		);

		// The control: the attacker does catch a joiner that stays the host's root and can be traced.
		for (let i = 0; i < 200 && !/caught \d+ 65534/.test(said); i++) {
			spawnSync("nsenter", ["--user=/proc/self/fd/3", "--preserve-credentials", "sleep", "0.02"], {
				stdio: ["ignore", "ignore", "ignore", ns.fd],
			});
			await sleep(1);
		}
		assert.match(said, /caught \d+ 65534/);
	} finally {
		attacker.kill("SIGKILL");
		if (attacker.exitCode === null && attacker.signalCode === null) await once(attacker, "close");
		ns.close();
		rmSync(folder, { recursive: true });
	}
});
