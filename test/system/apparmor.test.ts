import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import type { FoundCause } from "../../src/index.ts";
import { diagnose, type Machine } from "../support/broken.ts";
import { type Need, olderThan } from "../support/needs.ts";
import { askAs, freshUser } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

/* Programs with a profile of AppArmor that refuses something, each compared with the same program with a profile that permits it. */

const needs = ["linux", "root", "ordinary", "mounts", "apparmor"] as const;
/** Since then, AppArmor checks move_mount(2), and has the rule for user namespaces (security/apparmor/lsm.c). */
const since67 = [...needs, "linux:6.7"] as const;

/** The process ID is in the name, so that loading the profile replaces none of the machine. */
const NAME = `userns-test-${process.pid}`;
/** Files and mounts without a path in the mount namespace are named below "/", as the profiles of containers do it. */
const DETACHED = "attach_disconnected";

function parse(option: string, profile: string): void {
	const input = `abi <kernel>,\n${profile}\n`;
	// The default configuration would pin the rules to those of another kernel.
	const args = ["--config-file=/dev/null", "--skip-cache", option];
	const { status, stderr } = spawnSync("apparmor_parser", args, { input, encoding: "utf8" });
	assert.equal(status, 0, stderr);
}

/** Loads a profile with the rules, and removes it at the end. */
async function withProfile(rules: string, flags: string, body: () => void | Promise<void>): Promise<void> {
	parse("--replace", `profile ${NAME} flags=(${flags}) { ${rules} }`);
	try {
		await body();
	} finally {
		parse("--remove", `profile ${NAME} { }`);
	}
}

/** Starts a program with the profile. */
const CONFINED = ["/bin/sh", "-c", `printf "exec ${NAME}" > /proc/self/attr/exec && exec "$@"`, "sh"];
const SHOWN = new RegExp(`\\b${NAME} \\((enforce|complain)\\)`);

const PERMITS = "all,";
/** Each rule but userns. */
const NO_USERNS =
	"file, capability, network, unix, signal, ptrace, mount, umount, pivot_root, dbus, mqueue, change_profile, io_uring,";
const BY_PROFILE = { cause: "apparmor-profile", evidence: SHOWN } as const;

/** An ext4 as the source, because a tmpfs cannot be mapped before Linux 6.3. */
const EXT4 =
	"truncate -s 16M /mnt/image; mkfs.ext4 -q /mnt/image; mkdir -p /mnt/source; mount -o loop /mnt/image /mnt/source";
const onExt4 = [...needs, "loop", "fs:ext4", "tool:mkfs.ext4"] as const;

const machines: [what: string, rules: string, flags: string, machine: Machine, needs?: readonly Need[]][] = [
	[
		"permits everything, root, mounts",
		PERMITS,
		DETACHED,
		{ job: "mount", asRoot: true, before: EXT4 },
		onExt4,
	],
	["permits everything, an ordinary user", PERMITS, DETACHED, { job: "rootless" }],
	["has no rule for user namespaces", NO_USERNS, DETACHED, { job: "spawn", ...BY_PROFILE }, since67],
	[
		"has no rule for user namespaces, root",
		NO_USERNS,
		DETACHED,
		{ job: "spawn", asRoot: true, ...BY_PROFILE },
		since67,
	],
	["has the rule that the fix names", `${NO_USERNS} userns,`, DETACHED, { job: "spawn" }, since67],
	["is in the mode unconfined", NO_USERNS, "unconfined", { job: "spawn" }, since67],
	["denies mounts, which no program needs", "all, deny mount,", DETACHED, { job: "spawn", asRoot: true }],
	[
		"denies CAP_SETFCAP",
		"all, deny capability setfcap,",
		DETACHED,
		{ job: "spawn", asRoot: true, ...BY_PROFILE },
	],
	[
		"denies CAP_SYS_ADMIN",
		"all, deny capability sys_admin,",
		DETACHED,
		{ job: "spawn", asRoot: true, ...BY_PROFILE },
	],
	[
		"denies CAP_SETUID, which newuidmap needs",
		"all, deny capability setuid,",
		DETACHED,
		{ job: "rootless", ...BY_PROFILE },
	],
	[
		"refuses files without a path, in the mode complain too",
		PERMITS,
		"complain",
		{ job: "spawn", asRoot: true, ...BY_PROFILE },
	],
];

for (const [what, rules, flags, machine, more = needs] of machines) {
	test(`doctor: a profile ${what}`, { needs: more, timeout: 120_000 }, () =>
		withProfile(rules, flags, () => diagnose({ ...machine, through: CONFINED })),
	);
}

/** The first cause of the error that the statements throw, with the profile, and without it. */
function causeOf(statements: string): [confined: FoundCause | null, free: FoundCause | null] {
	const body = `
		const attempt = async () => {${statements}};
		const cause = await attempt().then(() => null, (error) => error.causes?.[0] ?? error.message);
		console.log(JSON.stringify(cause));`;
	const before = "mkdir -p /mnt/source /mnt/target /mnt/other";
	const run = (through: readonly string[]) =>
		askAs<FoundCause | null>(freshUser({ asRoot: true, before, through }), body);
	return [run(CONFINED), run([])];
}

const MOUNT = `const mount = await userns.mountIdmapped({ source: "/mnt/source", target: "/mnt/target", mapping: "0:100000:10" });`;

interface MountAnswer {
	ok: boolean;
	state: string;
	causes: FoundCause[];
	/** Without a target, and with one. */
	detached: boolean;
	attached: boolean;
}

for (const [what, rules, attached, more] of [
	["denies mounts, as that of Docker", "all, deny mount,", false, since67],
	// AppArmor of Linux 6.1 permits move_mount(2), and refuses umount2(2).
	["denies mounts, before Linux 6.7", "all, deny mount,", true, needs],
	["denies a mount at / alone", "all, deny mount -> /,", true, since67],
] as const) {
	test(`doctor: a profile that ${what} is a limit, because a mount without a target works`, {
		needs: [...onExt4, ...more],
		timeout: 120_000,
	}, (t) => {
		if (more === needs && olderThan("6.7") === undefined) return t.skip("this kernel checks move_mount(2)");
		return withProfile(rules, DETACHED, () => {
			const user = freshUser({ asRoot: true, before: `mkdir -p /mnt/target; ${EXT4}`, through: CONFINED });
			const answer = askAs<MountAnswer>(
				user,
				`const { ok, checks } = await userns.doctor({ for: "mount", path: "/mnt/source" });
				const { state, causes } = checks.find(({ name }) => name === "mounts");
				const works = (call) => call().then(() => true, () => false);
				const detached = await works(async () => (await userns.mountIdmapped({ source: "/mnt/source", mapping: "0:100000:10" })).close());
				const attached = await works(async () => {${MOUNT}});
				console.log(JSON.stringify({ ok, state, causes, detached, attached }));`,
			);
			assert.deepEqual(
				[answer.ok, answer.detached, answer.attached],
				[true, true, attached],
				JSON.stringify(answer),
			);
			if (more === needs) assert.equal(answer.state, "ok");
			else {
				assert.equal(answer.state, "limited");
				assert.deepEqual(
					answer.causes.map(({ id }) => id),
					["security-module"],
				);
				assert.match(answer.causes[0]?.evidence ?? "", SHOWN);
			}
		});
	});
}

test(
	"a profile that permits everything does not replace a hint that is certain",
	{ needs, timeout: 120_000 },
	() =>
		withProfile(PERMITS, DETACHED, () => {
			const user = freshUser({ through: CONFINED });
			const error = askAs<{ hint: string; causes: FoundCause[] | null }>(
				user,
				`const error = await userns.UserNamespace.create("u:0:" + process.geteuid() + ":1,g:0:" + process.getegid() + ":1", { setgroups: "allow" })
				.then(() => undefined, (error) => error);
			console.log(JSON.stringify({ hint: error.hint, causes: error.causes ?? null }));`,
			);
			assert.match(error.hint, /^Set \{ setgroups: "deny" \}, and no groups/);
			assert.equal(error.causes, null);
		}),
);

test(
	"the error of a mount that a profile denies names the profile",
	{ needs: since67, timeout: 120_000 },
	() =>
		withProfile("all, deny mount,", DETACHED, () => {
			const [confined, free] = causeOf(MOUNT);
			assert.equal(free, null);
			assert.equal(confined?.id, "security-module", JSON.stringify(confined));
			assert.match(confined.evidence, SHOWN);
		}),
);

test(
	"the error of a mount at a path that a profile denies names the profile",
	{
		needs: since67,
		timeout: 120_000,
	},
	() =>
		withProfile("all, deny mount -> /mnt/target/,", DETACHED, () => {
			const [confined, free] = causeOf(MOUNT);
			assert.equal(free, null);
			assert.equal(confined?.id, "apparmor-profile", JSON.stringify(confined));
			assert.match(confined.evidence, SHOWN);
			const [other] = causeOf(MOUNT.replace("/mnt/target", "/mnt/other"));
			assert.equal(other, null, "the profile permits another target");
		}),
);

test(
	"the error of an unmount that a profile denies names the profile",
	{ needs: since67, timeout: 120_000 },
	() =>
		withProfile("all, deny umount,", DETACHED, () => {
			const [confined, free] = causeOf(`${MOUNT} await mount.unmount();`);
			assert.equal(free, null);
			assert.equal(confined?.id, "apparmor-profile", JSON.stringify(confined));
			assert.match(confined.evidence, SHOWN);
		}),
);
