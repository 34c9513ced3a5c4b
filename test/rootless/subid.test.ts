import assert from "node:assert/strict";
import { askAs, freshUser, type UserSetup } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "ordinary"] as const;

type Answer = { id?: string; code?: string; message?: string; hint?: string };

/** The mapping that Mapping.rootless returns. "OWN" stands for the user's own ID. */
function rootless(setup: UserSetup, options = "{}"): Answer {
	return askAs<Answer>(
		freshUser(setup),
		`let answer;
		try { answer = { id: userns.Mapping.rootless(${options}).id.replaceAll(String(process.getuid()), "OWN") }; }
		catch (e) { answer = e; }
		console.log(JSON.stringify(answer));`,
	);
}

const LINES = ["other:100000:500", "userns-tester:200000:500", "UID:300000:7"];
const BOTH = { subuid: LINES, subgid: LINES };
const FOUND = "0:OWN:1,1:200000:500,501:300000:7";

test("the ranges by name and by number are the same with getsubids(1) and without it", { needs }, () => {
	assert.equal(rootless(BOTH).id, FOUND);
	// This PATH has neither getsubids nor getent.
	assert.equal(rootless({ ...BOTH, path: "/mnt/bin" }).id, FOUND);
});

/** A getsubids of the test. */
function getsubids(body: string): string {
	return `printf '%s\\n' '#!/bin/sh' '${body}' > /mnt/bin/getsubids; chmod 755 /mnt/bin/getsubids`;
}

const OWN_FIRST = "/mnt/bin:/usr/bin:/bin";

test("findId finds users and groups by name, in the files and with getent(1)", { needs }, () => {
	const service = `printf '%s\\n' '#!/bin/sh' 'echo "$3:x:71:72::/:/bin/sh"' > /mnt/bin/getent; chmod 755 /mnt/bin/getent`;
	const find = (calls: string, before: string) =>
		askAs<(number | null)[]>(
			freshUser({ ...BOTH, path: OWN_FIRST, before }),
			`const { findId } = userns; console.log(JSON.stringify([${calls}].map((id) => id ?? null)));`,
		);
	const added = `echo 'j.doe@corp:x:4242:4343::/:/bin/sh' >> /etc/passwd; echo 'staff-1:x:4545:a,b' >> /etc/group; echo '77:x:5:5::/:/bin/sh' >> /etc/passwd`;
	assert.deepEqual(
		find(
			'findId("j.doe@corp", "uid"), findId("staff-1", "gid"), findId("root", "gid"), findId("77", "uid")',
			added,
		),
		[4242, 4545, 0, 5],
	);
	assert.deepEqual(find('findId("no-such", "uid"), findId("staff-1", "uid"), findId("71", "uid")', "true"), [
		null,
		null,
		null,
	]);
	assert.deepEqual(find('findId("remote", "uid"), findId("remote", "gid")', service), [71, 71]);
});

/** A line of nsswitch.conf, in place of those for subid. */
function nsswitch(line: string): string {
	return `sed -i /subid/Id /etc/nsswitch.conf; printf '%s\\n' '${line}' >> /etc/nsswitch.conf`;
}

test("a directory service has no ranges if getsubids fails, prints nonsense or is not executable", {
	needs,
}, () => {
	for (const body of [
		"exit 1",
		"echo hello; echo 0: x y z; exit 0",
		"head -c 10000 /dev/urandom",
		"kill -9 $$",
	]) {
		const before = `${getsubids(body)}; ${nsswitch("subid: sss")}`;
		const answer = rootless({ ...BOTH, path: OWN_FIRST, before });
		assert.equal(answer.code, "ERR_USERNS_NO_SUBIDS", body);
		assert.match(answer.message ?? "", /the service "sss" has no subordinate uids of the user userns-tester/);
		assert.doesNotMatch(answer.hint ?? "", /add a line/);
	}
});

test("the first word after subid: decides between the files and a directory service, as in nss.c of shadow", {
	needs,
}, () => {
	const SERVICE = "0:OWN:1,1:700000:9";
	const cases: [line: string, id: string][] = [
		["subid: sss # there", SERVICE],
		["subid: sss files", SERVICE],
		["subid: files sss", FOUND],
		["SUBID:\tsss", SERVICE],
		[" subid: sss", FOUND],
		["#subid: sss", FOUND],
		["subid:\nsubid: sss", SERVICE],
		["subid:sss", SERVICE],
		["subids: sss", FOUND],
		[`subid: ${"s".repeat(51)}`, FOUND],
		["passwd: files", FOUND],
	];
	for (const [line, id] of cases) {
		const before = `${getsubids('echo "0: $2$1 700000 9"')}; ${nsswitch(line)}`;
		assert.equal(rootless({ ...BOTH, path: OWN_FIRST, before }).id, id, line);
	}
});

/** A library as sssd has one, with one range. It is found by the cache of ldconfig(8), which is in the overlay of /etc. */
const LIBRARY = `cat > /mnt/library.c <<'END'
#include <stdlib.h>
#include <stdbool.h>
struct range { unsigned long first, count; };
int shadow_subid_has_range(const char *o, unsigned long f, unsigned long c, int t, bool *r)
{ *r = f >= 2147483648 && f + c <= 2147483648 + 65536; return 0; }
int shadow_subid_list_owner_ranges(const char *o, int t, struct range **r, int *n)
{ *r = malloc(sizeof **r); (*r)->first = 2147483648; (*r)->count = 65536; *n = 1; return 0; }
int shadow_subid_find_subid_owners(unsigned long i, int t, unsigned **u, int *n) { *n = 0; return 0; }
void shadow_subid_free(void *p) { free(p); }
END
cc -shared -fPIC -o /mnt/bin/libsubid_zzz.so /mnt/library.c
echo /mnt/bin > /etc/ld.so.conf.d/zzz.conf
ldconfig`;

test("with a library of a directory service, the ranges are those that newuidmap permits", {
	needs: [...needs, "tool:cc", "tool:ldconfig", "tool:getsubids"],
}, () => {
	const lines = ["userns-tester:100000:65536"];
	const SERVICE = "0:OWN:1,1:2147483648:65536";
	const FILES = "0:OWN:1,1:100000:65536";
	for (const [line, id] of [
		["subid: zzz files", SERVICE],
		["subid: files zzz", FILES],
		["SUBID: zzz", SERVICE],
		[" subid: zzz", FILES],
		["subid: without-library", FILES],
	] as const) {
		const user = freshUser({ subuid: lines, subgid: lines, before: `${LIBRARY}; ${nsswitch(line)}` });
		const answer = askAs<{ id: string; made: string }>(
			user,
			`const mapping = userns.Mapping.rootless();
			const namespace = await userns.UserNamespace.create(mapping);
			const own = (m) => m.id.replaceAll(String(process.getuid()), "OWN");
			console.log(JSON.stringify({ id: own(mapping), made: own(await namespace.mapping()) }));`,
		);
		assert.deepEqual(answer, { id, made: id }, line);
	}
});

test("lines of another login name with the same uid count, and an owner without an account has ranges", {
	needs,
}, () => {
	const before = "echo 'userns-alias:x:'$user':'$user'::/:/bin/sh' >> /etc/passwd";
	const lines = ["userns-alias:300000:1000", "containers:400000:7"];
	const setup = { subuid: lines, subgid: lines, before };
	assert.equal(rootless(setup).id, "0:OWN:1,1:300000:1000");
	assert.equal(rootless(setup, '{ user: "containers" }').id, "0:400000:7");
	assert.equal(rootless(setup, '{ user: "containers", keepId: true }').id, "0:400000:7");
	const one = rootless({ ...setup, subgid: [] }, '{ user: "containers" }');
	assert.equal(one.code, "ERR_USERNS_NO_SUBIDS");
	const made = askAs<string>(
		freshUser(setup),
		`const namespace = await userns.UserNamespace.create(userns.Mapping.rootless());
		console.log(JSON.stringify((await namespace.mapping()).id.replaceAll(String(process.getuid()), "OWN")));`,
	);
	assert.equal(made, "0:OWN:1,1:300000:1000");
});

test("another login name with the same uid counts if only the directory service knows it", { needs }, () => {
	const lines = ["third:100000:5", "jdoe:300000:1000"];
	const getent = 'case "$*" in *jdoe*) echo "jdoe@corp.example:x:$(id -u):1::/:/bin/sh";; *) exit 2;; esac';
	const before = `sed -i 's/^passwd:.*/passwd: files sss/' /etc/nsswitch.conf; printf '%s\\n' '#!/bin/sh' '${getent}' > /mnt/bin/getent; chmod 755 /mnt/bin/getent`;
	assert.equal(
		rootless({ subuid: lines, subgid: lines, before, path: OWN_FIRST }).id,
		"0:OWN:1,1:300000:1000",
	);
	const files = before.replace("files sss", "files systemd");
	assert.equal(
		rootless({ subuid: lines, subgid: lines, before: files, path: OWN_FIRST }).code,
		"ERR_USERNS_NO_SUBIDS",
	);
});

test("unusual login names and large uids work", { needs }, () => {
	for (const name of ["CORP\\\\jdoe", "j.doe@corp.example", "20010", "_x-1$"]) {
		const lines = [`${name.replaceAll("\\\\", "\\")}:300000:1000`];
		const answer = askAs<{ calling: string; named: string; made: string }>(
			freshUser({ name: name.replaceAll("\\\\", "\\"), subuid: lines, subgid: lines }),
			`const own = (m) => m.id.replaceAll(String(process.getuid()), "OWN");
			const calling = userns.Mapping.rootless();
			const namespace = await userns.UserNamespace.create(calling);
			const named = userns.Mapping.rootless({ user: "${name}" });
			console.log(JSON.stringify({ calling: own(calling), named: own(named), made: own(await namespace.mapping()) }));`,
		);
		const id = "0:OWN:1,1:300000:1000";
		assert.deepEqual(answer, { calling: id, named: id, made: id }, name);
	}
	for (const uid of [2814350001, 4294836224]) {
		const lines = [`${uid}:300000:1000`];
		const answer = askAs<string[]>(
			{ ...freshUser({ subuid: lines, subgid: lines }), ...withUid(uid, lines) },
			`const mapping = userns.Mapping.rootless();
			const namespace = await userns.UserNamespace.create(mapping);
			console.log(JSON.stringify([mapping.id, (await namespace.mapping()).id]));`,
		);
		assert.deepEqual(answer, [`0:${uid}:1,1:300000:1000`, `0:${uid}:1,1:300000:1000`]);
	}
});

/** A user with that uid in place of a fresh one. */
function withUid(uid: number, lines: readonly string[]): ReturnType<typeof freshUser> {
	const { options } = freshUser({ subuid: lines, subgid: lines });
	const env = {
		...options.env,
		USERNS_TEST_UID: String(uid),
		USERNS_TEST_PASSWD: `big:x:${uid}:${uid}::/nonexistent:/bin/sh`,
	};
	return { uid, options: { ...options, env } };
}

test("the error names the flawed line of the user, and its hint works when it is followed", { needs }, () => {
	const cases: [line: string, flaw: RegExp, corrected: string | undefined][] = [
		["userns-tester:100000-165535", /line 2 has "100000-165535" in place of/, "userns-tester:100000:65536"],
		["userns-tester:100000:0", /line 2 has the count 0/, undefined],
		[
			"userns-tester::231072:65536",
			/line 2 has an empty field in place of the first ID/,
			"userns-tester:231072:65536",
		],
		["userns-tester:100000:65536 ", /line 2 has a blank after the count/, "userns-tester:100000:65536"],
		[
			"userns-tester:100000:65536\r",
			/line 2 has a carriage return after the count/,
			"userns-tester:100000:65536",
		],
		["userns-tester:100000 :65536", /line 2 has a blank after the first ID/, "userns-tester:100000:65536"],
		["userns-tester:100000", /line 2 has fewer than three fields/, undefined],
		["userns-tester:08:1", /line 2 has "08" in place of the first ID/, undefined],
		["UID:100000:x", /line 2 has "x" in place of the count/, undefined],
		["userns-tester:4294967295:5", /line 2 has no ID up to 4294967294/, undefined],
	];
	for (const [line, flaw, corrected] of cases) {
		const other = "other::5:5 ";
		const { code, message = "", hint = "" } = rootless({ subuid: [other, line] });
		assert.equal(code, "ERR_USERNS_NO_SUBIDS", line);
		assert.match(message, flaw);
		const proposed = /change line 2 of \/etc\/subuid to "(.*?)":/.exec(hint)?.[1] ?? assert.fail(hint);
		if (corrected !== undefined) assert.equal(proposed, corrected);
		assert.match(
			rootless({ subuid: [other, proposed.replace(/^\d+/, "UID")] }).id ?? "",
			/^u:0:OWN:1,u:1:|^0:OWN:1,1:/,
			proposed,
		);
	}
});

test("in a user namespace, only the IDs that exist there count, and the error says if none remains", {
	needs,
}, () => {
	const inside = (lines: readonly string[], mapping: string, uid: number) =>
		askAs<Answer>(
			freshUser({
				asRoot: true,
				subuid: lines,
				subgid: lines,
				before: "echo 'dev:x:2001:2001::/:/bin/sh' >> /etc/passwd",
			}),
			`import { spawnSync } from "node:child_process";
			const code = "const userns = await import(" + JSON.stringify(USERNS) + ");" +
				"let answer; try { answer = { id: userns.Mapping.rootless().id }; } catch (e) { answer = e; } console.log(JSON.stringify(answer));";
			const namespace = userns.UserNamespace.createSync(${JSON.stringify(mapping)});
			const child = namespace.spawn(process.execPath, ["--input-type=module", "-e", code], { uid: ${uid}, gid: ${uid}, stdio: ["ignore", "inherit", "inherit"] });
			await new Promise((resolve) => child.on("exit", resolve));`,
		);
	const MAP = "0:2100000000:65537";
	assert.equal(inside(["dev:60000:10000"], MAP, 2001).id, "0:2001:1,1:60000:5537");
	const out = inside(["dev:100000:65536"], MAP, 2001);
	assert.equal(out.code, "ERR_USERNS_UNMAPPED_ID");
	assert.match(out.message ?? "", /uids 100000–165535 of the user dev lie outside .*: 0–65536/);
	const none = inside([], MAP, 2001);
	assert.equal(none.code, "ERR_USERNS_NO_SUBIDS");
	const line = /"(dev:\d+:\d+)"/.exec(none.hint ?? "")?.[1] ?? assert.fail(none.hint);
	assert.match(inside([line], MAP, 2001).id ?? "", /^0:2001:\d{4}/, line);
	const gap = inside(["dev:0:10000"], "0:2100000000:100,2001:2100002001:1,5000:2100005000:10", 2001);
	assert.equal(gap.id, "0:2001:1,1:0:100,101:5000:10");
});

test("in a user namespace without maps, the error says that the own uid is not mapped, and names no user", {
	needs,
}, () => {
	const answer = rootless({ ...BOTH, through: ["unshare", "--user"] });
	assert.equal(answer.code, "ERR_USERNS_UNMAPPED_ID");
	assert.match(answer.message ?? "", /the own uid of this process is not mapped in the user namespace/);
	assert.doesNotMatch(`${answer.message} ${answer.hint}`, /nobody/);
});

test("the own uid within a subordinate range is mapped once, and lines by name and by uid are joined", {
	needs,
}, () => {
	const answer = askAs<string>(
		withUid(2001, ["big:1000:2000"]),
		"console.log(JSON.stringify(userns.Mapping.rootless().id));",
	);
	assert.equal(answer, "0:2001:1,1:1000:1001,1002:2002:998");
	const lines = ["userns-tester:100000:65536", "UID:150000:65536"];
	assert.equal(rootless({ subuid: lines, subgid: lines }).id, "0:OWN:1,1:100000:115536");
});

test("getsubids is not called if the files are the only source", { needs }, () => {
	for (const line of ["", '; echo "subid: files" >> /etc/nsswitch.conf']) {
		const before = `${getsubids('echo "0: $2$1 700000 9"')}${line}`;
		assert.equal(rootless({ ...BOTH, path: OWN_FIRST, before }).id, FOUND);
	}
});

test("invalid lines give no range, a fourth field is ignored, and a range is cut at the last ID", {
	needs,
}, () => {
	const lines = [
		"# userns-tester:1:1",
		"",
		"userns-tester",
		"userns-tester:5",
		"userns-tester:x:5",
		"userns-tester:-1:5",
		"userns-tester:400000:0",
		"userns-tester:500000:3:4",
		"userns-testers:600000:3",
		"userns-teste:600000:3",
		"userns-tester:700000:3",
		"userns-tester:4294967290:100",
	];
	assert.equal(
		rootless({ subuid: lines, subgid: lines, path: "/mnt/bin" }).id,
		"0:OWN:1,1:500000:3,4:700000:3,7:4294967290:5",
	);
});

test("files that may not be read count as missing", { needs }, () => {
	const answer = rootless({ ...BOTH, before: "chmod 600 /etc/subuid /etc/subgid" });
	assert.equal(answer.code, "ERR_USERNS_NO_SUBIDS");
});

test("another user, by name and by number, gets that user's own IDs", { needs }, () => {
	const before = "echo 'somebody:x:4242:4343::/:/bin/sh' >> /etc/passwd";
	const lines = ["somebody:800000:5"];
	for (const user of ['"somebody"', "4242"]) {
		const answer = rootless({ subuid: lines, subgid: lines, before }, `{ user: ${user} }`);
		assert.equal(answer.id, "u:0:4242:1,u:1:800000:5,g:0:4343:1,g:1:800000:5");
	}
	const keep = rootless({ subuid: lines, subgid: lines, before }, '{ user: "somebody", keepId: true }');
	assert.equal(keep.id, "u:0:800000:5,u:4242:4242:1,g:0:800000:5,g:4343:4343:1");
});

test("a user who does not exist, and a value that is no user, are errors", { needs }, () => {
	for (const user of ['"nobody-here"', "3999999999", '"4242"']) {
		const answer = rootless(BOTH, `{ user: ${user} }`);
		assert.equal(answer.code, "ERR_USERNS_UNKNOWN_USER", user);
		assert.match(answer.hint ?? "", /getent passwd/);
	}
	for (const user of ['""', '"a:b"', '"a\\nb"', '"a\\0"', "-1", "1.5", "4294967295", "null", "{}"]) {
		assert.equal(rootless(BOTH, `{ user: ${user} }`).code, "ERR_USERNS_INVALID_ARGUMENT", user);
	}
	assert.equal(rootless(BOTH, '{ keepId: "yes" }').code, "ERR_USERNS_INVALID_ARGUMENT");
	assert.equal(rootless(BOTH, "{ keepid: true }").code, "ERR_USERNS_INVALID_ARGUMENT");
});

test("the hint proposes the first range that the file assigns to no user, and it works when it is followed", {
	needs,
}, () => {
	const granted = ["other:100000:65536", "third:231072:65536", "fourth:165536:100"];
	const { code, hint = "" } = rootless({ subuid: granted, subgid: LINES });
	assert.equal(code, "ERR_USERNS_NO_SUBIDS");
	const line = /"(userns-tester:\d+:65536)" to \/etc\/subuid/.exec(hint)?.[1] ?? assert.fail(hint);
	assert.equal(line, "userns-tester:296608:65536");
	const followed = rootless({ subuid: [...granted, line], subgid: ["userns-tester:200000:65536"] });
	assert.equal(followed.id, "u:0:OWN:1,u:1:296608:65536,g:0:OWN:1,g:1:200000:65536");
	const first = rootless({ subuid: [], subgid: LINES }).hint ?? "";
	assert.match(first, /"userns-tester:100000:65536"/);
	const limited = 'echo "SUB_UID_MIN 400000" > /etc/login.defs';
	assert.match(rootless({ subuid: granted, before: limited }).hint ?? "", /"userns-tester:400000:65536"/);
});

test("for root, the hint proposes a mapping of IDs that neither file assigns to a user", { needs }, () => {
	const hint = (setup: UserSetup) =>
		askAs<string>(
			freshUser({ ...setup, asRoot: true }),
			`try { userns.UserNamespace.createSync(userns.Mapping.fromProc("", "")); }
			catch (e) { console.log(JSON.stringify(e.hint)); }`,
		);
	assert.match(hint({ subuid: LINES, subgid: LINES }), /such as 0:2100000000:65536\.$/);
	const granted = { subuid: ["a:2100000000:1"], subgid: ["b:2100000001:70000"] };
	assert.match(hint(granted), /such as 0:2100070001:65536\.$/);
});
