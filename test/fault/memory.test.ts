import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { ask } from "../support/child.ts";
import { OTHER_UID } from "../support/needs.ts";
import { test } from "../support/test.ts";
import { withThief } from "../support/thief.ts";

/*
 * Whoever has the uid that a user namespace belongs to has every capability over it. So the creation process can be traced by
 * who cannot trace the caller: the same uid with less privilege. It must not give him the caller's memory.
 */

const needs = ["linux", "root", "mounts", "tool:cc", "tool:setpriv"] as const;
const CREATIONS = process.env.USERNS_LONG === "1" ? 20_000 : 400;
const OTHER = [`--reuid=${OTHER_UID}`, `--regid=${OTHER_UID}`, "--clear-groups"];

interface Caller {
	/** What the script runs below. */
	prefix: string[];
	/** What takes its privilege from the thief. */
	drop: string[];
	map: string;
}

const ROOT: Caller = {
	prefix: ["env"],
	drop: ["setpriv", "--inh-caps=-all", "--bounding-set=-all"],
	map: "0:100000:65536",
};
const WITH_CAPABILITY: Caller = {
	prefix: ["setpriv", ...OTHER, "--inh-caps=+sys_admin", "--ambient-caps=+sys_admin"],
	drop: ["setpriv", "--ambient-caps=-all", "--inh-caps=-all"],
	map: `0:${OTHER_UID}:1`,
};
const ORDINARY: Caller = { prefix: ["setpriv", ...OTHER], drop: ["env"], map: `0:${OTHER_UID}:1` };
/** A machine with Yama, by what its file says. */
const YAMA = [
	...["unshare", "--mount", "--propagation", "private", "sh", "-c"],
	'mount -t tmpfs x /proc/sys/kernel && mkdir /proc/sys/kernel/yama && echo 1 > /proc/sys/kernel/yama/ptrace_scope && exec "$@"',
	"sh",
];
const UNDER_YAMA: Caller = { ...ORDINARY, prefix: [...YAMA, ...ORDINARY.prefix] };

interface Robbed {
	/** How often he saw a child of the caller's. */
	seen: number;
	/** How often he read the caller's memory in it. */
	read: number;
	/** PR_GET_DUMPABLE of the caller before and after, by the owner of a file in /proc that goes by it. */
	owners: [before: number, after: number];
}

/** Makes namespaces while a thief is at work who has the caller's uid and not his privilege. */
function rob(thief: string, { prefix, drop, map }: Caller): Robbed {
	return ask(
		`import fs from "node:fs";
		import { spawn } from "node:child_process";
		import { once } from "node:events";
		const owner = () => fs.statSync("/proc/self/mem").uid;
		const before = owner();
		const make = () => userns.UserNamespace.create("${map}").then((ns) => ns.close());
		await Promise.all([make(), make(), make(), make()]);
		const at = /^([0-9a-f]+)-\\S+ \\S+ 0+ .*userns\\.node$/m.exec(fs.readFileSync("/proc/self/maps", "utf8"))[1];
		const [command, ...args] = [...${JSON.stringify(drop)}, "${thief}", String(process.pid), String(BigInt("0x" + at))];
		const thief = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
		await once(thief.stdout, "data");
		for (let i = 0; i < ${CREATIONS}; i += 8) {
			for (let j = 0; j < 4; j++) userns.UserNamespace.createSync("${map}").close();
			await Promise.all([make(), make(), make(), make()]);
		}
		thief.stdin.end();
		const [said] = await once(thief.stdout, "data");
		await once(thief, "close");
		const [seen, read] = String(said).split(" ").map(Number);
		console.log(JSON.stringify({ seen, read, owners: [before, owner()] }));`,
		{ prefix },
	);
}

const callers: [name: string, caller: Caller, owner: number][] = [
	["root", ROOT, 0],
	["an ordinary user with a capability", WITH_CAPABILITY, OTHER_UID],
	["an ordinary user, where Yama keeps his processes from each other", UNDER_YAMA, OTHER_UID],
];

for (const [name, caller, owner] of callers) {
	test(
		`who has the uid of ${name} and less privilege gets none of his memory: ${CREATIONS} creations`,
		{
			needs,
		},
		() =>
			withThief((thief) => {
				const { seen, read, owners } = rob(thief, caller);
				assert.ok(seen > CREATIONS / 100, `the thief was awake: he saw ${seen}`);
				assert.equal(read, 0);
				assert.deepEqual(owners, [owner, owner], "dumpable again, as it was");
			}),
	);
}

test(
	"the same thief does read what shares memory in a namespace of his uid, without a capability",
	{ needs },
	() =>
		withThief(async (thief) => {
			const prey = spawn(thief, ["prey"], { stdio: ["pipe", "pipe", "inherit"] });
			const [told] = await once(prey.stdout, "data");
			const [pid = "", address = ""] = String(told).trim().split(" ");
			const [command = "", ...args] = [...ROOT.drop, thief, pid, address];
			const robber = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
			await once(robber.stdout, "data");
			robber.stdin.end();
			const [said] = await once(robber.stdout, "data");
			const [seen = 0, read = 0] = String(said).split(" ").map(Number);
			assert.ok(seen > 0 && read === seen, String(said));
			const child = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
			process.kill(Number(child), "SIGKILL");
			prey.stdin.end();
			await once(prey, "close");
		}),
);
