// Runs a command in a bubblewrap sandbox (Debian: apt-get install bubblewrap), in a user namespace of this package.
//
//   node bwrap-sandbox.js [COMMAND [ARG…]]
//
// Without root, bwrap joins the namespace by its descriptor. bwrap needs its caller's own ID in the namespace, and
// Mapping.rootless() maps that ID. With root, the namespace should not map the ID 0 of the host, so bwrap is started inside.
//
// The command can read every file that its caller can read, and has the caller's environment. It can write no file of the
// machine, because it has no capability. With CAP_SYS_ADMIN it could remount / writable, and unmount /tmp.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { Mapping, UserNamespace } from "userns";

const command = process.argv.length > 2 ? process.argv.slice(2) : ["id"];

const sandbox = [
	// A read-only mount does not prevent connect(2). The empty /run covers the sockets of the machine's services.
	...["--ro-bind", "/", "/", "--tmpfs", "/run", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"],
	// Without --cap-drop, root of the namespace keeps its capabilities. Other users of the namespace have none.
	...["--cap-drop", "ALL"],
	// Without --new-session, the command could write input to this terminal (TIOCSTI, CVE-2017-5226).
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
