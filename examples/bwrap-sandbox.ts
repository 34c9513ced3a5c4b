// A sandbox by bubblewrap (Debian: apt-get install bubblewrap) in a user namespace of ours.
//
//   node bwrap-sandbox.js [COMMAND [ARG…]]
//
// As an ordinary user, bwrap joins by the descriptor: it needs its caller's own ID in the namespace, and has it there.
// As root, whose ID had better not be in it, bwrap is started inside.
//
// The command sees the machine's files and the environment of its caller, and can read what its caller can read. It cannot
// write them, because it has no capability: with CAP_SYS_ADMIN it could remount / writable and unmount /tmp.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Mapping, UserNamespace } from "userns";

const command = process.argv.length > 2 ? process.argv.slice(2) : ["id"];

const sandbox = [
	// A read-only mount does not prevent connect(2): an empty /run hides the sockets of the machine's services.
	...["--ro-bind", "/", "/", "--tmpfs", "/run", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"],
	// Without --cap-drop, root of the namespace keeps its capabilities. The command of an ordinary user has none.
	...["--cap-drop", "ALL"],
	// Without --new-session, the command could type into this terminal (TIOCSTI, CVE-2017-5226).
	"--new-session",
	...["--unshare-pid", "--unshare-net", "--unshare-ipc", "--die-with-parent", "--"],
	...command,
];

const root = process.getuid?.() === 0;
const namespace = root
	? await UserNamespace.create("0:2100000000:65536", { setgroups: "allow" })
	: await UserNamespace.create(Mapping.rootless());
try {
	// Descriptor 3 of bwrap is the fourth of stdio.
	const child = root
		? namespace.spawn("bwrap", sandbox, { stdio: "inherit" })
		: spawn("bwrap", ["--userns", "3", ...sandbox], {
				stdio: ["inherit", "inherit", "inherit", namespace.fd],
			});
	const [status, signal] = await once(child, "exit");
	process.exitCode = signal === null ? status : 1;
} finally {
	namespace.close();
}
