import assert from "node:assert/strict";
import { type ErrorExplanation, explainError } from "../../src/index.ts";
import { compile, JAIL, withLimit } from "../support/broken.ts";
import { askAs, freshUser, type UserSetup } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

/*
 * explainError names the cause of an error of another program, which the program itself prints: each test breaks the machine, runs the
 * program, and passes on what it wrote.
 */

const needs = ["linux", "root", "ordinary", "mounts", "tool:cc"] as const;

const BWRAP = ["bwrap", "--unshare-user", "--uid", "5", "--ro-bind", "/", "/", "true"];
const FILTER = { before: compile("deny-newuser"), through: ["/mnt/bin/deny-newuser"] };
/** A bundle for runc and crun, as root; the second has a mount with a map. */
const BUNDLE = (mount: string) => `mkdir -p /mnt/bundle/rootfs /mnt/state; cd /mnt/bundle; runc spec
node -e 'const fs = require("fs"); const c = JSON.parse(fs.readFileSync("config.json", "utf8"));
const map = [{ containerID: 0, hostID: 100000, size: 65536 }];
c.process.terminal = false; c.process.args = ["/none"]; delete c.linux.seccomp;
c.linux.namespaces.push({ type: "user" }); Object.assign(c.linux, { uidMappings: map, gidMappings: map });
if (${mount}) c.mounts.push({ destination: "/x", type: "bind", source: ${mount}, options: ["bind"], uidMappings: map, gidMappings: map });
fs.writeFileSync("config.json", JSON.stringify(c));'
chown -R 100000:100000 rootfs; cd /`;
const runtime = (name: string) => [
	name,
	"--root",
	"/mnt/state",
	"run",
	"--bundle",
	"/mnt/bundle",
	"userns-test",
];

/** Runs newuidmap for a process in a new user namespace; $1 and so on are its arguments after the pid. */
const newuidmap = (...map: string[]) => [
	...["sh", "-c", 'unshare -U sleep 5 & sleep 0.3; newuidmap $! "$@"; kill $!', "sh"],
	...map,
];

interface Case {
	setup: UserSetup;
	command: string[];
	/** What the program wrote, which shows that it was broken as meant. */
	line: RegExp;
	cause: string;
	tool?: string;
}

const cases: Record<string, Case> = {
	"bwrap under a filter": {
		setup: FILTER,
		command: BWRAP,
		line: /^bwrap: No permissions to create/,
		cause: "seccomp-filter",
	},
	"unshare under a filter": {
		setup: FILTER,
		command: ["unshare", "-U", "true"],
		line: /^unshare: unshare failed: Operation not permitted$/,
		cause: "seccomp-filter",
	},
	"bwrap with the limit 0": {
		setup: {
			asRoot: true,
			through: [...withLimit(0), ..."setpriv --reuid 1 --regid 1 --clear-groups".split(" ")],
		},
		command: BWRAP,
		line: /^bwrap: Creating new namespace failed: /,
		cause: "namespaces-off",
	},
	"unshare with the limit 0": {
		setup: { asRoot: true, through: withLimit(0) },
		command: ["unshare", "-U", "true"],
		line: /^unshare: unshare failed: No space left on device$/,
		cause: "namespaces-off",
	},
	"unshare after chroot(2)": {
		setup: { asRoot: true, before: JAIL, through: ["/usr/sbin/chroot", "/mnt/jail"] },
		command: ["unshare", "-U", "true"],
		line: /^unshare: unshare failed: Operation not permitted$/,
		cause: "chroot",
	},
	"unshare without CAP_SETFCAP": {
		setup: { asRoot: true, bounding: "-setfcap" },
		command: ["unshare", "-Ur", "true"],
		line: /^unshare: write failed \/proc\/self\/uid_map: Operation not permitted$/,
		cause: "missing-capability",
	},
	"bwrap without CAP_SETFCAP": {
		setup: { asRoot: true, bounding: "-setfcap" },
		command: BWRAP,
		line: /^bwrap: setting up uid map: Operation not permitted$/,
		cause: "missing-capability",
	},
	"newuidmap for an ID of another user": {
		setup: {},
		command: newuidmap("0", "1000", "1"),
		line: /^newuidmap: uid range \[0-1\) -> \[1000-1001\) not allowed$/,
		cause: "not-delegated",
	},
	"newuidmap under no_new_privs": {
		setup: { through: ["/usr/bin/setpriv", "--no-new-privs"] },
		command: newuidmap("0", "200000", "1"),
		line: /^newuidmap: write to uid_map failed: Operation not permitted$/,
		cause: "no-new-privs",
	},
	"newuidmap without CAP_SYS_ADMIN": {
		setup: { bounding: "-sys_admin" },
		command: newuidmap("0", "200000", "1"),
		line: /^newuidmap: write to uid_map failed: Operation not permitted$/,
		cause: "helper-bounding-set",
	},
	"newuidmap for a uid without a name": {
		setup: { name: null },
		command: newuidmap("0", "200000", "1"),
		line: /^newuidmap: Cannot determine your user name\.$/,
		cause: "unknown-user",
	},
	"newuidmap of another user": {
		setup: {
			path: "/mnt/bin:/usr/bin:/bin",
			before:
				"cp /usr/bin/newuidmap /usr/bin/newgidmap /mnt/bin; chown 4242 /mnt/bin/*; chmod 4755 /mnt/bin/*",
		},
		command: newuidmap("0", "200000", "1"),
		line: /^newuidmap: open of uid_map failed: Permission denied$/,
		cause: "helper-not-privileged",
	},
	"crun under a filter": {
		setup: { asRoot: true, before: `${FILTER.before}; ${BUNDLE("undefined")}`, through: FILTER.through },
		command: runtime("crun"),
		line: /^clone: Operation not permitted$/,
		cause: "seccomp-filter",
		tool: "crun",
	},
	"runc under a filter": {
		setup: { asRoot: true, before: `${FILTER.before}; ${BUNDLE("undefined")}`, through: FILTER.through },
		command: runtime("runc"),
		line: /failed to sync with stage-1|final child's PID/,
		cause: "seccomp-filter",
		tool: "runc",
	},
	"crun without CAP_SETUID and CAP_SETGID": {
		setup: { asRoot: true, before: BUNDLE("undefined"), bounding: "-setuid,-setgid" },
		command: runtime("crun"),
		line: /^writing file `\/proc\/\d+\/[ug]id_map`: Operation not permitted$/,
		cause: "missing-capability",
		tool: "crun",
	},
	"runc without CAP_SETUID and CAP_SETGID": {
		setup: { asRoot: true, before: BUNDLE("undefined"), bounding: "-setuid,-setgid" },
		command: runtime("runc"),
		line: /SYNC_USERMAP|final child's PID/,
		cause: "missing-capability",
		tool: "runc",
	},
	"crun under a filter against mount_setattr": {
		setup: {
			asRoot: true,
			before: `${compile("deny")}; ${BUNDLE('"/mnt/source"')}; mkdir /mnt/source`,
			through: ["/mnt/bin/deny", "442=1"],
		},
		command: runtime("crun"),
		line: /^mount_setattr `\/mnt\/source`: Operation not permitted$/,
		cause: "seccomp-filter",
		tool: "crun",
	},
};

for (const [what, { setup, command, line, cause, tool = command[0] }] of Object.entries(cases)) {
	test(`explainError: ${what}`, { needs: [...needs, `tool:${tool}`, "tool:runc"] }, () => {
		const { text, found } = askAs<{ text: string; found?: ErrorExplanation }>(
			freshUser(setup),
			`import { spawnSync } from "node:child_process";
			const [program, ...args] = ${JSON.stringify(command)};
			const { stderr } = spawnSync(program, args, { encoding: "utf8" });
			console.log(JSON.stringify({ text: stderr, found: await userns.explainError(stderr) }));`,
		);
		assert.ok(found !== undefined, text);
		assert.match(found.line, line, text);
		assert.deepEqual(
			found.causes.map(({ id }) => id),
			[cause],
			JSON.stringify(found),
		);
		assert.equal(found.hint, `${found.causes[0]?.fix}.`);
	});
}

/** Lines of programs that the tests do not run, and of situations that this kernel does not have. */
const lines: [line: string, check: string][] = [
	["bwrap: setting up uid map: Permission denied", "namespaces"],
	["bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", "namespaces"],
	["error: cannot find UID/GID for user dev: no subuid ranges found for user dev in /etc/subuid", "ids"],
	[
		"potentially insufficient UIDs or GIDs available in user namespace (requested 0:42 for /etc/gshadow)",
		"ids",
	],
	["docker: failed to mount /srv with idmap: operation not permitted", "mounts"],
	['mount_setattr "/var/lib/x": invalid argument', "mounts"],
];

test("explainError: lines of programs on a machine where this process can do it", {
	needs: ["linux", "root", "mounts"],
}, async () => {
	for (const [line, check] of lines) {
		const found = await explainError(`a line before\n${line}\na line after`);
		assert.equal(found?.line, line);
		assert.equal(found.check, check, line);
		assert.deepEqual(found.causes, [], line);
		assert.match(found.hint, /^Call doctor\(\) where the program runs/);
	}
	for (const text of ["", "bash: foo: command not found", "cp: cannot stat 'x': No such file or directory"]) {
		assert.equal(await explainError(text), undefined, text);
	}
	await assert.rejects(explainError(7 as never), { code: "ERR_USERNS_INVALID_ARGUMENT" });
});
