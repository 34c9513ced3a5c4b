// Runs a command in a user namespace. The command is root inside, and an ordinary user outside.
//
//   sudo node spawn.js [COMMAND [ARG…]]
import { once } from "node:events";
import { UserNamespace } from "userns";

const [command = "id", ...args] = process.argv.slice(2);

// The IDs 0 to 65535 inside are 2100000000 to 2100065535 outside.
const namespace = await UserNamespace.create("0:2100000000:65536", { setgroups: "allow" });
try {
	// The options of child_process.spawn, and more. In a pid namespace, every process that the command started ends with it.
	const child = namespace.spawn(command, args, {
		stdio: "inherit",
		uid: 0,
		gid: 0,
		unshare: ["mount", "pid", "ipc", "uts"],
	});
	const [status, signal] = await once(child, "exit");
	process.exitCode = signal === null ? status : 1;
} finally {
	namespace.close();
}
