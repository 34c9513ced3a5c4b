import assert from "node:assert/strict";
import { askAs, askOrdinary, freshUser, type UserSetup } from "../support/ordinary.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "ordinary"] as const;
const fresh = ["linux", "root", "ordinary"] as const;

/** What /proc shows of a program that runs in the namespace, seen from outside, with single blanks in each line. */
const MAPS = `import fs from "node:fs";
	import { once } from "node:events";
	const maps = async (ns) => {
		const child = ns.spawn("sleep", ["100"], { stdio: "ignore" });
		const read = (file) => fs.readFileSync("/proc/" + child.pid + "/" + file, "utf8").trim()
			.split("\\n").map((line) => line.trim().split(/\\s+/).join(" "));
		// Before the program is executed, the process is not dumpable and its files in /proc cannot be read.
		const isInside = () => {
			try {
				return fs.readlinkSync("/proc/" + child.pid + "/ns/user") !== fs.readlinkSync("/proc/self/ns/user");
			} catch (error) {
				if (error.code === "EACCES") return false;
				throw error;
			}
		};
		while (!isInside()) await new Promise((r) => setTimeout(r, 2));
		const seen = { uid: read("uid_map"), gid: read("gid_map"), setgroups: read("setgroups")[0] };
		child.kill("SIGKILL");
		await once(child, "close");
		return seen;
	};`;

test("Mapping.rootless maps root to the user and all subordinate IDs after it, and the kernel has the same map", {
	needs,
}, () => {
	const { id, read, seen, own } = askOrdinary<{
		id: string;
		read: string;
		seen: { uid: string[]; gid: string[]; setgroups: string };
		own: [number, number];
	}>(
		`${MAPS}
		const mapping = userns.Mapping.rootless();
		const ns = await userns.UserNamespace.create(mapping);
		const bare = userns.UserNamespace.open("/proc/self/fd/" + ns.fd);
		console.log(JSON.stringify({ id: mapping.id, read: (await bare.mapping()).id, seen: await maps(ns),
			own: [process.getuid(), process.getgid()] }));`,
	);
	assert.equal(read, id);
	assert.equal(seen.uid[0], `0 ${own[0]} 1`);
	assert.equal(seen.gid[0], `0 ${own[1]} 1`);
	assert.match(seen.uid[1] ?? "", /^1 \d+ \d+$/);
	assert.equal(seen.setgroups, "deny");
});

test("every range of several lines by name and by number is used, and IDs in two lines count once", {
	needs: fresh,
}, () => {
	const user = freshUser({
		subuid: [
			"somebody:1000:500",
			"userns-tester:200000:1000",
			"UID:300000:1000",
			"userns-tester:200500:1000",
		],
		subgid: ["userns-tester:400000:10", "userns-tester:500000:20"],
	});
	const seen = askAs<{ uid: string[]; gid: string[] }>(
		user,
		`${MAPS}
		console.log(JSON.stringify(await maps(await userns.UserNamespace.create(userns.Mapping.rootless()))));`,
	);
	assert.deepEqual(
		new Set(seen.uid.map((line) => line.split(" ").slice(1).join(" "))),
		new Set([`${user.uid} 1`, "200000 1000", "201000 500", "300000 1000"]),
	);
	assert.deepEqual(seen.gid, [`0 ${user.uid} 1`, "1 400000 10", "11 500000 20"]);
});

test("keepId maps the user's own IDs to themselves, and root to the first subordinate ID", {
	needs: fresh,
}, () => {
	const user = freshUser();
	const seen = askAs<{ uid: string[]; gid: string[] }>(
		user,
		`${MAPS}
		console.log(JSON.stringify(await maps(await userns.UserNamespace.create(userns.Mapping.rootless({ keepId: true })))));`,
	);
	const expected = ["0 200000 65536", `${user.uid} ${user.uid} 1`];
	assert.deepEqual(seen.uid, expected);
	assert.deepEqual(seen.gid, expected);
});

test("files that root makes in the namespace are the user's on disk, and those of uid 5 have a subordinate owner", {
	needs: fresh,
}, () => {
	const user = freshUser({ before: 'mkdir /mnt/data; chown "$user:$user" /mnt/data; chmod 777 /mnt/data' });
	const owners = askAs<Record<string, string>>(
		user,
		`import fs from "node:fs";
		import { once } from "node:events";
		const ns = await userns.UserNamespace.create(userns.Mapping.rootless(), { setgroups: "allow" });
		for (const [name, ids] of [["root", {}], ["five", { uid: 5, gid: 6 }]])
			await once(ns.spawn("touch", ["/mnt/data/" + name], ids), "close");
		const owner = (name) => { const s = fs.statSync("/mnt/data/" + name); return s.uid + ":" + s.gid; };
		console.log(JSON.stringify({ root: owner("root"), five: owner("five") }));`,
	);
	assert.deepEqual(owners, { root: `${user.uid}:${user.uid}`, five: "200004:200005" });
});

test('a map of the user\'s own IDs needs no newuidmap and denies setgroups; "auto" and "direct" give the same', {
	needs,
}, () => {
	const seen = askOrdinary<{ uid: string[]; gid: string[]; setgroups: string }[]>(
		`${MAPS}
		const map = "u:7:" + process.getuid() + ":1,g:8:" + process.getgid() + ":1";
		const all = [];
		for (const method of ["auto", "direct"]) {
			process.env.PATH = "/nonexistent";
			const ns = await userns.UserNamespace.create(map, { method });
			process.env.PATH = "/usr/bin:/bin";
			all.push(await maps(ns));
		}
		console.log(JSON.stringify(all.concat({ own: [process.getuid(), process.getgid()] })));`,
	);
	const { own } = seen.pop() as unknown as { own: [number, number] };
	for (const { uid, gid, setgroups } of seen) {
		assert.deepEqual([uid, gid, setgroups], [[`7 ${own[0]} 1`], [`8 ${own[1]} 1`], "deny"]);
	}
	assert.equal(seen.length, 2);
});

test('"direct" fails for subordinate IDs, and "newuidmap" is used even for the user\'s own ID', {
	needs,
}, () => {
	const answer = askOrdinary<{
		direct: Record<string, string>;
		missing: Record<string, string>;
		made: boolean;
	}>(
		`const direct = await userns.UserNamespace.create(userns.Mapping.rootless(), { method: "direct" }).catch((e) => e);
		const own = "u:0:" + process.getuid() + ":1,g:0:" + process.getgid() + ":1";
		const made = (await userns.UserNamespace.create(own, { method: "newuidmap" })).fd > 2;
		process.env.PATH = "/nonexistent";
		const missing = await userns.UserNamespace.create(own, { method: "newuidmap" }).catch((e) => e);
		console.log(JSON.stringify({ direct, missing, made }));`,
	);
	assert.equal(answer.direct.code, "ERR_USERNS_CREATE");
	assert.equal(answer.direct.errnoCode, "EPERM");
	assert.equal(answer.direct.step, "the process's uid_map");
	assert.match(answer.direct.hint ?? "", /CAP_SETUID/);
	assert.equal(answer.missing.code, "ERR_USERNS_HELPER_MISSING");
	assert.ok(answer.made);
});

test("two concurrent callers with two methods each get the result of their own method", { needs }, () => {
	const seen = askOrdinary<{ both: string[]; size: number }>(
		`const handles = new userns.Handles();
		const map = userns.Mapping.rootless();
		const ways = ["direct", "newuidmap"].map((method) => handles.get(map, { method }));
		const both = await Promise.allSettled(ways);
		for (const { value } of both) value?.close();
		const { size } = handles;
		handles.release();
		console.log(JSON.stringify({ both: both.map(({ status }) => status), size }));`,
	);
	assert.deepEqual(seen, { both: ["rejected", "fulfilled"], size: 1 });
});

test("50 concurrent and 20 successive creations with newuidmap leave no process and no descriptor", {
	needs,
}, () => {
	const answer = askOrdinary<{ inodes: number; ids: string[]; children: string; descriptors: number }>(
		`import fs from "node:fs";
		const count = () => fs.readdirSync("/proc/self/fd").length;
		const mapping = userns.Mapping.rootless();
		(await userns.UserNamespace.create(mapping)).close();
		const before = count();
		const all = await Promise.all(Array.from({ length: 50 }, () => userns.UserNamespace.create(mapping)));
		for (let i = 0; i < 20; i++) all.push(userns.UserNamespace.createSync(mapping));
		const inodes = new Set(all.map((ns) => ns.inode)).size;
		const ids = [...new Set(await Promise.all(all.map(async (ns) => (await userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mapping()).id)))];
		const children = readChildren().join(" ");
		for (const ns of all) ns.close();
		console.log(JSON.stringify({ inodes, ids: ids.map((id) => id === mapping.id ? "as asked" : id), children, descriptors: count() - before - 70 }));`,
	);
	// The 70 descriptors that were opened for reading are still open on purpose, and no others.
	assert.deepEqual(answer, { inodes: 70, ids: ["as asked"], children: "", descriptors: 0 });
});

test("root writes its maps itself, and uses newuidmap only if the method says so", {
	needs: fresh,
}, () => {
	const user = freshUser({ asRoot: true, subuid: ["root:300000:10"], subgid: ["root:300000:10"] });
	const answer = askAs<{ direct: string; helped: string; refused: Record<string, string> }>(
		user,
		`const read = async (map, method) => {
			const ns = await userns.UserNamespace.create(map, { method });
			return (await userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mapping()).id;
		};
		console.log(JSON.stringify({
			direct: await read("0:100000:65536", "auto"),
			helped: await read("0:300000:10", "newuidmap"),
			refused: await read("0:100000:65536", "newuidmap").catch((e) => e),
		}));`,
	);
	assert.equal(answer.direct, "0:100000:65536");
	assert.equal(answer.helped, "0:300000:10");
	assert.equal(answer.refused.code, "ERR_USERNS_NOT_DELEGATED");
});

/** The ranges that a line of subuid gives to a user whom newuidmap permits them, or none. */
const ODD_LINES: [line: string, range: string | undefined][] = [
	["userns-tester:0200000:10", "65536:10"],
	["userns-tester:0x493e0:10", "300000:10"],
	["userns-tester:+310000:012", "310000:10"],
	["userns-tester: 320000:10", "320000:10"],
	["userns-tester:330000:10:more", "330000:10"],
	["UID:340000:10", "340000:10"],
	["userns-tester:400000:10\r", undefined],
	["userns-tester:410000:10 ", undefined],
	["userns-tester:420000:99999999999999999999", undefined],
	["userns-tester:430000:18446744073709551615", undefined],
	["userns-tester:440000:-5", undefined],
	["userns-tester:08:10", undefined],
	["userns-tester:450000", undefined],
	["userns-tester:460000:0", undefined],
	["userns-tester:2e5:10", undefined],
	["#userns-tester:470000:10", undefined],
	["0UID:480000:10", undefined],
];

for (const [how, before = ""] of [
	["getsubids"],
	["the files alone", "mount --bind /bin/false /usr/bin/getsubids"],
]) {
	test(`lines of subuid with odd numbers, by ${how}: the ranges are those that newuidmap takes`, {
		needs: [...fresh, "tool:getsubids"],
	}, () => {
		const user = freshUser({ subuid: ODD_LINES.map(([line]) => line), before });
		const { ranges, refused } = askAs<{ ranges: string[]; refused: string[] }>(
			user,
			`const mapping = userns.Mapping.rootless();
			const ns = await userns.UserNamespace.create(mapping);
			const read = await userns.UserNamespace.open("/proc/self/fd/" + ns.fd).mapping();
			const ranges = read.uidMappings.slice(1).map(({ hostID, size }) => hostID + ":" + size);
			const refused = [];
			for (const id of [400000, 410000, 420000, 430000, 440000, 450000, 460000, 470000, 480000, 8])
				refused.push(await userns.UserNamespace.create("u:0:" + id + ":1,g:0:200000:1").then(() => id, (e) => e.code));
			console.log(JSON.stringify({ ranges, refused }));`,
		);
		const given = ODD_LINES.flatMap(([, range]) => range ?? []);
		assert.deepEqual(ranges.sort(), given.sort());
		assert.deepEqual([...new Set(refused)], ["ERR_USERNS_NOT_DELEGATED"]);
	});
}

/** A reason's code and message, and what a namespace with the mapping has. */
const BEST = `const best = async (user) => {
		try {
			const { mapping, reason } = userns.Mapping.bestFor(user);
			(await userns.UserNamespace.create(mapping)).close();
			return [mapping.id, reason?.code, reason?.hint === "" ? "no hint" : ""];
		} catch (error) {
			return [error.code];
		}
	};`;

test("Mapping.bestFor is the rootless mapping, or the user's own IDs and the reason, whatever the cause", {
	needs: fresh,
}, () => {
	const own = (uid: number) => `0:${uid}:1`;
	const all = (uid: number) => `0:${uid}:1,1:200000:65536`;
	const cases: [setup: UserSetup, id: (uid: number) => string, code: string | null][] = [
		[{}, all, null],
		[{ subuid: [], subgid: [] }, own, "ERR_USERNS_NO_SUBIDS"],
		[{ subgid: [] }, own, "ERR_USERNS_NO_SUBIDS"],
		[{ path: "/nonexistent" }, own, "ERR_USERNS_HELPER_MISSING"],
		[
			{ name: null, subuid: ["UID:200000:65536"], subgid: ["UID:200000:65536"] },
			own,
			"ERR_USERNS_UNKNOWN_USER",
		],
		[{ through: ["setpriv", "--no-new-privs"] }, own, "ERR_USERNS_HELPER_FAILED"],
		[
			{
				before: "cp $(command -v newuidmap) /mnt/bin; chmod 755 /mnt/bin/newuidmap",
				path: `/mnt/bin:${process.env.PATH}`,
			},
			own,
			"ERR_USERNS_HELPER_FAILED",
		],
	];
	for (const [setup, id, code] of cases) {
		const user = freshUser(setup);
		const [found, reason, noHint] = askAs<[string, string | null, string]>(
			user,
			`${BEST} console.log(JSON.stringify(await best()));`,
		);
		assert.deepEqual([found, reason, noHint], [id(user.uid), code, ""], JSON.stringify(setup));
	}
});

test("Mapping.bestFor of another user: root gets that user's IDs, and an ordinary caller its own", {
	needs: fresh,
}, () => {
	const ask = (setup: UserSetup, user: string) => {
		const caller = freshUser(setup);
		const [id = "", code = ""] = askAs<string[]>(
			caller,
			`${BEST} console.log(JSON.stringify(await best(${user})));`,
		);
		return [id.replaceAll(String(caller.uid), "UID"), code];
	};
	const lines = ["userns-tester:200000:5", "containers:300000:5"];
	const asRoot = { asRoot: true, subuid: lines, subgid: lines };
	assert.deepEqual(ask(asRoot, '"userns-tester"'), ["0:UID:1,1:200000:5", null]);
	assert.deepEqual(ask(asRoot, "+process.env.USERNS_TEST_UID"), ["0:UID:1,1:200000:5", null]);
	assert.deepEqual(ask(asRoot, '"containers"'), ["0:300000:5", null]);
	assert.deepEqual(ask({ asRoot: true, subuid: [], subgid: [] }, '"userns-tester"'), [
		"0:UID:1",
		"ERR_USERNS_NO_SUBIDS",
	]);
	assert.deepEqual(ask(asRoot, '"nobody-at-all"'), ["ERR_USERNS_UNKNOWN_USER", ""]);
	assert.deepEqual(ask(asRoot, "-1"), ["ERR_USERNS_INVALID_ARGUMENT", ""]);
	// newuidmap permits the ranges of the caller only.
	assert.deepEqual(ask({ subuid: lines, subgid: lines }, '"containers"'), [
		"0:UID:1",
		"ERR_USERNS_NOT_DELEGATED",
	]);
	assert.deepEqual(ask({}, '"root"'), ["0:UID:1", "ERR_USERNS_NO_SUBIDS"]);
});

test("Mapping.bestFor throws the error of the creation where no user namespace can be created", {
	needs: fresh,
}, () => {
	const none = 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"';
	const through = ["unshare", "--user", "--map-root-user", "sh", "-c", none, "sh"];
	const codes = askAs<string[]>(freshUser({ through }), `${BEST} console.log(JSON.stringify(await best()));`);
	assert.deepEqual(codes, ["ERR_USERNS_LIMIT"]);
});
