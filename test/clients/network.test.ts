import assert from "node:assert/strict";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { ask, sh } from "../support/child.ts";
import { withTmpfs } from "../support/mounts.ts";
import type { Need } from "../support/needs.ts";
import { makeUser, privateMounts } from "../support/private-mounts.ts";
import { SLOWER } from "../support/slower.ts";
import { test } from "../support/test.ts";

/*
 * slirp4netns and pasta give a network to a program in namespaces of this package. The host's side is a network
 * namespace of the test, in which TCP servers listen on the loopback device: no packet leaves the machine.
 */
const needs = ["linux", "root", "mounts", "user", "tool:ip", "tool:bash", "path:/dev/net/tun"] as const;
const MAP = "0:2100000000:65536";

/** $1: a device file for /dev/net/tun, which every user may open on most machines; then the program. */
const HOST = `
mount --bind "$1" /dev/net/tun || exit 125
shift
ip link set lo up && ip tuntap add host mode tap && ip address add 192.0.2.1/24 dev host &&
ip link set host up && ip route add default via 192.0.2.254 dev host || exit 125
exec "$@"`;

interface Seen {
	/** The network devices that the program saw. */
	devices: string[];
	/** What the host's server answered at each address, or "refused". */
	answers: Record<string, string>;
	/** The helper's messages. */
	said: string;
}

/**
 * Starts a program in a namespace of the mapping and a network namespace, then the helper with the program's pid for
 * "PID", and lets the program connect to port 8080 of these addresses.
 */
function connect(
	{ mapping, user }: { mapping: string; user: boolean },
	helper: readonly string[],
	addresses: readonly string[],
): Promise<Seen> {
	let seen: Seen | undefined;
	return withTmpfs((folder) => {
		const tun = join(folder, "tun");
		sh("mknod", tun, "c", "10", "200");
		chmodSync(tun, 0o666);
		const prefix = ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", HOST, "sh", tun];
		seen = ask<Seen>(
			`const { spawn } = await import("node:child_process");
			const { createServer } = await import("node:net");
			const { once } = await import("node:events");
			const { readFileSync } = await import("node:fs");
			const { setTimeout: sleep } = await import("node:timers/promises");
			const server = createServer((socket) => socket.end("hello\\n")).listen(8080, "127.0.0.1");
			await once(server, "listening");
			const ns = await userns.UserNamespace.create(${mapping});
			const addresses = ${JSON.stringify(addresses)};
			const ask = 'echo ready; read go; cat /proc/net/dev; for address; do answer=$(timeout 5 bash -c ' +
				'"exec 3<>/dev/tcp/$address/8080; head -n1 <&3" 2>&-); ' +
				'echo "at $address \${answer:-refused}"; done';
			const child = ns.spawn("bash", ["-c", ask, "bash", ...addresses], {
				unshare: ["net"], stdio: ["pipe", "pipe", "inherit"], timeout: ${40_000 * SLOWER},
			});
			let text = "";
			child.stdout.on("data", (chunk) => { text += chunk; });
			// Before it runs, it is not in the namespaces yet, and no other process of its user may open them.
			await once(child.stdout, "data");
			const [program, ...args] = ${JSON.stringify(helper)};
			const net = spawn(program, args.map((word) => word === "PID" ? String(child.pid) : word),
				{ stdio: ["ignore", "pipe", "pipe"] });
			let said = "";
			for (const stream of [net.stdout, net.stderr]) stream.on("data", (chunk) => { said += chunk; });
			const ended = once(net, "close");
			// The helper is ready when the program's namespace has a device with a route.
			const routes = () => readFileSync("/proc/" + child.pid + "/net/route", "utf8").trim().split("\\n").length;
			while (net.exitCode === null && net.signalCode === null && routes() < 2) await sleep(20);
			child.stdin.end("go\\n");
			await once(child, "close");
			net.kill("SIGTERM");
			await ended;
			server.close();
			ns.close();
			const devices = [...text.matchAll(/^ *(\\w+): /gm)].map(([, device]) => device);
			const answers = Object.fromEntries([...text.matchAll(/^at (\\S+) (.*)$/gm)].map(([, ...pair]) => pair));
			console.log(JSON.stringify({ devices, answers, said }));`,
			{ prefix: [...prefix, ...privateMounts(user ? { user: makeUser(folder) } : {})] },
		);
	}).then(() => seen ?? assert.fail());
}

const AS_ROOT = { mapping: JSON.stringify(MAP), user: false };
const AS_USER = { mapping: "userns.Mapping.rootless()", user: true };

/** The addresses at which each helper shows the host's loopback device: its own, and the template's gateway. */
const SLIRP_HOST = "10.0.2.2";
const PASTA_HOST = "192.0.2.254";

const slirp = ["slirp4netns", "--configure", "PID", "tap0"];
const pasta = ["pasta", "--foreground", "--config-net"];
/** The options with which pasta forwards neither to nor from the host's loopback device. */
const CLOSED = ["--no-map-gw", ..."tuTU".split("").flatMap((option) => [`-${option}`, "none"])];

for (const [who, as, more, pastaOptions] of [
	["root", AS_ROOT, [], ["--runas", "0", "--no-netns-quit"]],
	["an ordinary user", AS_USER, ["tool:newuidmap", "tool:newgidmap"], []],
] as [string, typeof AS_ROOT, Need[], string[]][]) {
	test(`slirp4netns as ${who}: the program reaches the host's loopback, unless --disable-host-loopback is given`, {
		needs: [...needs, ...more, "tool:slirp4netns"],
	}, async () => {
		const open = await connect(as, slirp, [SLIRP_HOST]);
		assert.deepEqual(open.devices.sort(), ["lo", "tap0"], open.said);
		assert.deepEqual(open.answers, { [SLIRP_HOST]: "hello" });
		const closed = await connect(as, [...slirp, "--disable-host-loopback"], [SLIRP_HOST]);
		assert.deepEqual(closed.devices.sort(), ["lo", "tap0"], closed.said);
		assert.deepEqual(closed.answers, { [SLIRP_HOST]: "refused" });
	});

	test(`pasta as ${who}: the program reaches the host's loopback by two addresses, unless both are closed`, {
		needs: [...needs, ...more, "tool:pasta"],
	}, async () => {
		const addresses = [PASTA_HOST, "127.0.0.1"];
		const open = await connect(as, [...pasta, ...pastaOptions, "PID"], addresses);
		assert.deepEqual(open.devices.sort(), ["host", "lo"], open.said);
		assert.deepEqual(open.answers, { [PASTA_HOST]: "hello", "127.0.0.1": "hello" });
		const closed = await connect(as, [...pasta, ...pastaOptions, ...CLOSED, "PID"], addresses);
		assert.deepEqual(closed.devices.sort(), ["host", "lo"], closed.said);
		assert.deepEqual(closed.answers, { [PASTA_HOST]: "refused", "127.0.0.1": "refused" });
	});
}

test("pasta as root without --runas 0 becomes nobody, and cannot open root's namespace", {
	needs: [...needs, "tool:pasta"],
}, async () => {
	const { devices, said } = await connect(AS_ROOT, [...pasta, "PID"], [PASTA_HOST]);
	assert.deepEqual(devices, ["lo"]);
	assert.match(said, /Couldn't open user namespace .*: Permission denied/);
});
