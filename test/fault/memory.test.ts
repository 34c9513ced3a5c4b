import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { ask } from "../support/child.ts";
import { OTHER_UID } from "../support/needs.ts";
import { test } from "../support/test.ts";
import { withThief } from "../support/thief.ts";

/*
 * A process with the uid that owns a user namespace has every capability over that namespace. A process of the same uid
 * with less privilege therefore may trace the creation process, although it may not trace the caller. It must not get
 * the caller's memory from the creation process.
 */

const needs = ["linux", "root", "mounts", "tool:cc", "tool:setpriv"] as const;
const COUNT = process.env.USERNS_LONG === "1" ? 20_000 : 400;
const OTHER = [`--reuid=${OTHER_UID}`, `--regid=${OTHER_UID}`, "--clear-groups"];

interface Caller {
	/** The command that the script runs below. */
	prefix: string[];
	/** The command that drops the thief's privilege. */
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
/** A machine with Yama: its sysctl file says 1. */
const YAMA = [
	...["unshare", "--mount", "--propagation", "private", "sh", "-c"],
	'mount -t tmpfs x /proc/sys/kernel && mkdir /proc/sys/kernel/yama && echo 1 > /proc/sys/kernel/yama/ptrace_scope && exec "$@"',
	"sh",
];
const UNDER_YAMA: Caller = { ...ORDINARY, prefix: [...YAMA, ...ORDINARY.prefix] };

interface Robbed {
	/** How often the thief saw a child of the caller. */
	seen: number;
	/** How often the thief read the caller's memory in a child. */
	read: number;
	/** PR_GET_DUMPABLE of the caller before and after, shown by the owner of one of its /proc files. */
	owners: [before: number, after: number];
}

/** Creates namespaces while a thief with the caller's uid and less privilege looks for their processes. */
function rob(thief: string, { prefix, drop, map }: Caller): Robbed {
	return ask(
		`import fs from "node:fs";
		import { spawn } from "node:child_process";
		import { once } from "node:events";
		const owner = () => fs.statSync("/proc/self/mem").uid;
		const before = owner();
		const make = () => userns.UserNamespace.create("${map}").then((ns) => ns.close());
		await Promise.all([make(), make(), make(), make()]);
		const at = /^([0-9a-f]+)-\\S+ \\S+ 0+ .*userns\\.linux-\\w+\\.node$/m.exec(fs.readFileSync("/proc/self/maps", "utf8"))[1];
		const [command, ...args] = [...${JSON.stringify(drop)}, "${thief}", String(process.pid), String(BigInt("0x" + at))];
		const thief = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
		await once(thief.stdout, "data");
		for (let i = 0; i < ${COUNT}; i += 8) {
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
	["an ordinary user, where Yama separates processes of one user", UNDER_YAMA, OTHER_UID],
];

for (const [name, caller, owner] of callers) {
	test(
		`a process with the uid of ${name} and less privilege reads none of its memory in ${COUNT} creations`,
		{
			needs,
		},
		() =>
			withThief((thief) => {
				const { seen, read, owners } = rob(thief, caller);
				assert.ok(seen > COUNT / 100, `the thief ran and saw ${seen}`);
				assert.equal(read, 0);
				assert.deepEqual(owners, [owner, owner], "dumpable again, as it was");
			}),
	);
}

test("the control: the thief does read the memory that a namespace of its own uid shares", { needs }, () =>
	withThief(async (thief) => {
		const prey = spawn(thief, ["prey"], { stdio: ["pipe", "pipe", "inherit"] });
		const [line] = await once(prey.stdout, "data");
		const [pid = "", address = ""] = String(line).trim().split(" ");
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
