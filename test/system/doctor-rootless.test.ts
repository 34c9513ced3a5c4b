import { diagnose, type Machine } from "../support/broken.ts";
import { test } from "../support/test.ts";

/* Machines on which an ordinary user cannot map more than its own ID, each for one reason, and the command that fixes it. */

const needs = ["linux", "root", "ordinary", "mounts"] as const;

const BIN_FIRST = "/mnt/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const COPIES = "cp -p /usr/bin/newuidmap /usr/bin/newgidmap /mnt/bin";
const BOTH = "/mnt/bin/newuidmap /mnt/bin/newgidmap";
const GETSUBIDS =
	'printf "%s\\n" "#!/bin/sh" "exit 1" > /mnt/bin/getsubids; chmod 755 /mnt/bin/getsubids; echo "subid: x" >> /etc/nsswitch.conf';

const machines: [what: string, machine: Omit<Machine, "job">][] = [
	["a healthy machine", {}],
	[
		"file capabilities in place of the set-user-ID bit",
		{
			path: BIN_FIRST,
			before: `${COPIES}; chmod 755 ${BOTH}; setcap cap_setuid=ep /mnt/bin/newuidmap; setcap cap_setgid=ep /mnt/bin/newgidmap`,
		},
	],
	["no newuidmap", { path: "/mnt/bin", cause: "helper-missing", evidence: /^newuidmap is in no absolute/ }],
	[
		"newuidmap without newgidmap",
		{
			path: "/mnt/bin",
			before: "ln -s /usr/bin/newuidmap /mnt/bin/newuidmap",
			cause: "helper-missing",
			evidence: /^newgidmap is in no absolute/,
		},
	],
	[
		"a relative entry of PATH",
		{ path: "/mnt/bin:usr/bin", cause: "helper-relative-path", evidence: /at \/usr\/bin\/newuidmap$/ },
	],
	[
		"newuidmap without its bit",
		{
			path: "/mnt/bin",
			before: `${COPIES}; chmod 755 ${BOTH}`,
			cause: "helper-not-privileged",
			evidence: /^\/mnt\/bin\/newuidmap is not set-user-ID root$/,
			fix: "before",
		},
	],
	[
		"newuidmap without its bit, and a good one later in PATH",
		{
			path: BIN_FIRST,
			before: `${COPIES}; chmod 755 ${BOTH}`,
			cause: "helper-not-privileged",
			evidence: /, but \/usr\/bin\/newuidmap is$/,
			noCommand: true,
		},
	],
	[
		"newuidmap of another user",
		{
			path: "/mnt/bin",
			before: `${COPIES}; chown 4242 ${BOTH}; chmod u+s ${BOTH}`,
			cause: "helper-not-privileged",
			noCommand: true,
		},
	],
	[
		"newuidmap without its bit, which another user may write",
		{
			path: "/mnt/bin",
			before: `${COPIES}; chmod 777 ${BOTH}`,
			cause: "helper-not-privileged",
			noCommand: true,
		},
	],
	[
		"newuidmap without its bit, in a directory whose name a shell changes",
		{
			path: "/mnt/bin/;id",
			before: `mkdir "/mnt/bin/;id"; cp /usr/bin/newuidmap /usr/bin/newgidmap "/mnt/bin/;id"`,
			cause: "helper-not-privileged",
			noCommand: true,
		},
	],
	[
		"newuidmap on a mount with nosuid",
		{
			path: BIN_FIRST,
			before: `${COPIES}; mount --bind /mnt/bin /mnt/bin; mount -o remount,bind,nosuid /mnt/bin`,
			cause: "helper-nosuid",
		},
	],
	["no_new_privs", { through: ["/usr/bin/setpriv", "--no-new-privs"], cause: "no-new-privs" }],
	[
		"a bounding set without CAP_SETUID and CAP_SETGID",
		{
			bounding: "-setuid,-setgid",
			cause: "helper-bounding-set",
			evidence: /lacks CAP_SETUID$/,
		},
	],
	[
		"a group of newgrp(1)",
		{
			before: 'sed -i "s/^\\(userns-tester:x:$user\\):$user:/\\1:4:/" /etc/passwd',
			cause: "other-gid",
			fix: "before",
		},
	],
	["a uid without a name", { name: null, cause: "unknown-user" }],
	["no subordinate IDs", { subuid: [], subgid: [], cause: "subid-none", fix: "before" }],
	["no subordinate gids", { subgid: [], cause: "subid-none", evidence: /subgid$/, fix: "before" }],
	[
		"a symbolic link",
		{
			before: "mv /etc/subuid /etc/other-subuid; ln -s other-subuid /etc/subuid",
			cause: "subid-link",
			fix: "before",
		},
	],
	["a file for root alone", { before: "chmod 600 /etc/subuid", cause: "subid-unreadable", fix: "before" }],
	[
		"a directory service that does not know the user",
		{ path: BIN_FIRST, before: GETSUBIDS, cause: "subid-service" },
	],
	[
		"a directory service, and no file",
		{
			path: BIN_FIRST,
			before: `${GETSUBIDS.replace("exit 1", "echo 0: x 200000 65536")}; mv /etc/subuid /etc/subuid-`,
			cause: "subid-file-missing",
		},
	],
	[
		"a range of another user",
		{
			subuid: ["other:265000:100", "userns-tester:200000:65536"],
			cause: "subid-overlap",
			evidence:
				/the subordinate uids 200000–265535 of the user userns-tester contain those of other in line 1/,
			limited: true,
			fix: "before",
		},
	],
	[
		"a range with an account",
		{
			before: "echo 'clerk:x:200007:200007::/:/bin/sh' >> /etc/passwd",
			cause: "subid-overlap",
			evidence: /contain the uid 200007 of clerk$/,
			limited: true,
			fix: "before",
		},
	],
	[
		"a range with root of the host",
		{
			subgid: ["userns-tester:0:10", "userns-tester:200000:65526"],
			cause: "subid-overlap",
			evidence: /the subordinate gids 0–9 .* contain the gid 0 of root$/,
			limited: true,
			fix: "before",
		},
	],
	[
		"a flawed line beside a good one",
		{
			subuid: ["userns-tester:200000:65536", "userns-tester:400000:10 "],
			cause: "subid-line",
			evidence: /fewer subordinate uids .*: line 2 has a blank after the count/,
			limited: true,
			fix: "before",
		},
	],
	...(
		[
			["a carriage return", "userns-tester:200000:65536\r", /line 2 has a carriage return after the count/],
			["a blank", "userns-tester:200000:65536 ", /line 2 has a blank after the count/],
			["an empty field", "userns-tester::200000:65536", /line 2 has an empty field in place of the first ID/],
			["FIRST-LAST", "userns-tester:200000-265535", /line 2 has "200000-265535" in place of the first ID/],
			["the count 0", "userns-tester:200000:0", /line 2 has the count 0/],
		] as const
	).map(([what, line, evidence]): (typeof machines)[number] => [
		`a line with ${what}`,
		{ subuid: ["other:900000:5", line], cause: "subid-line", evidence, fix: "before" },
	]),
];

for (const [what, machine] of machines) {
	test(`many IDs for an ordinary user: ${what}`, { needs: [...needs, "tool:setcap"] }, () =>
		diagnose({ ...machine, job: "rootless" }),
	);
}

test(
	"a set-user-ID newuidmap needs CAP_SYS_ADMIN in the bounding set, and file capabilities do not",
	{
		needs: [...needs, "tool:setcap"],
	},
	() =>
		diagnose({
			job: "rootless",
			path: BIN_FIRST,
			before: COPIES,
			bounding: "-sys_admin",
			cause: "helper-bounding-set",
			evidence: /lacks CAP_SYS_ADMIN$/,
			fix: "before",
		}),
);
