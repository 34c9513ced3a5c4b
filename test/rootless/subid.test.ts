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

/** The package asks getsubids if there can be more ranges than the files have. */
const BOTH_SOURCES = 'echo "subid: files sss" >> /etc/nsswitch.conf';
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

test("the files count if getsubids fails, prints nonsense or is not executable", { needs }, () => {
	for (const body of [
		"exit 1",
		"echo hello; echo 0: x y z; exit 0",
		"head -c 10000 /dev/urandom",
		"kill -9 $$",
	]) {
		const before = `${getsubids(body)}; ${BOTH_SOURCES}`;
		assert.equal(rootless({ ...BOTH, path: OWN_FIRST, before }).id, FOUND, body);
	}
	const before = `${getsubids("exit 0")}; chmod 644 /mnt/bin/getsubids; ${BOTH_SOURCES}`;
	assert.equal(rootless({ ...BOTH, path: OWN_FIRST, before }).id, FOUND);
});

test("ranges of a directory service count if nsswitch.conf says so, and those of the files then do not", {
	needs,
}, () => {
	const before = `${getsubids('echo "0: $2$1 700000 9"')}; echo "subid: sss # there" >> /etc/nsswitch.conf`;
	assert.equal(rootless({ ...BOTH, path: OWN_FIRST, before }).id, "0:OWN:1,1:700000:9");
	// The control: if the files are among the sources, they count too.
	const files = before.replace("subid: sss", "subid: files sss");
	assert.equal(
		rootless({ ...BOTH, path: OWN_FIRST, before: files }).id,
		"0:OWN:1,1:700000:9,10:200000:500,510:300000:7",
	);
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
