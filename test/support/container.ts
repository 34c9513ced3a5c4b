import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { UserNamespace } from "../../src/index.ts";
import { mkdirs } from "./mounts.ts";

/** A running container of the simplest kind: its own root and mount namespace, and perhaps a user namespace. */
export interface Container {
	pid: number;
	/** The path of the root directory on the host. */
	root: string;
	end(): Promise<void>;
}

/** Makes a root directory out of the host's programs, with /data and a link on it, and changes the root to it. */
const ENTER = `set -e
mount -t tmpfs root "$1"
mkdir -p "$1"/old "$1"/proc "$1"/data "$1"/real
ln -s /real "$1"/link
ln -s /etc "$1"/host-etc
for d in bin sbin lib lib64 usr; do
	if [ -L "/$d" ]; then cp -P "/$d" "$1/$d"; elif [ -d "/$d" ]; then mkdir "$1/$d"; mount --rbind "/$d" "$1/$d"; fi
done
mount --rbind /proc "$1"/proc
cd "$1"
`;
const PIVOT = `${ENTER}
pivot_root . old
umount -l /old
echo ready
exec sleep 1000`;
const CHROOT = `${ENTER}
echo ready
exec chroot . sleep 1000`;

/**
 * Starts a container. `way`: it changes its root with pivot_root(2) or only with chroot(2). `mapping`: it has its own
 * user namespace, which owns the mount namespace.
 */
export async function startContainer(
	folder: string,
	way: "pivot" | "chroot",
	mapping?: string,
): Promise<Container> {
	const [root = ""] = mkdirs(folder, `container-${way}-${mapping === undefined ? "plain" : "mapped"}`);
	const script = ["-c", way === "pivot" ? PIVOT : CHROOT, "sh", root];
	const stdio: ["ignore", "pipe", "inherit"] = ["ignore", "pipe", "inherit"];
	let child: ChildProcess;
	if (mapping === undefined) {
		child = spawn("unshare", ["--mount", "--propagation", "private", "sh", ...script], { stdio });
	} else {
		const namespace = await UserNamespace.create(mapping, { setgroups: "allow" });
		child = namespace.spawn("sh", script, { unshare: ["mount"], stdio });
		namespace.close();
	}
	const closed = once(child, "close");
	const [said] = await Promise.race([
		once(child.stdout as NonNullable<typeof child.stdout>, "data"),
		closed.then(() => ["the container ended"]),
	]);
	if (!`${said}`.startsWith("ready")) throw new Error(`${said}`);
	if (way === "chroot") await untilChrooted(child.pid as number, root);
	return {
		pid: child.pid as number,
		root,
		end: async () => {
			child.kill("SIGKILL");
			await closed;
		},
	};
}

/** The container prints the word before it executes chroot(1). */
async function untilChrooted(pid: number, root: string): Promise<void> {
	const { readlinkSync } = await import("node:fs");
	const { setTimeout: sleep } = await import("node:timers/promises");
	for (let i = 0; i < 200 && readlinkSync(`/proc/${pid}/root`) !== root; i++) await sleep(10);
}
