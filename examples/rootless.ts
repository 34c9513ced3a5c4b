// Creates a user namespace without root, with every ID that this user may map. It needs newuidmap and newgidmap (Debian:
// apt-get install uidmap), a line for the user in /etc/subuid and in /etc/subgid, and a caller without root privilege.
//
//   node rootless.js
import { once } from "node:events";
import { mkdtempSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Mapping, UserNamespace, UsernsError } from "userns";

/** Creates a file of a subordinate ID. Only a process in the namespace can delete it. */
async function showOwners(namespace: UserNamespace): Promise<void> {
	const folder = mkdtempSync(join(tmpdir(), "rootless-"));
	const run = async (...command: [string, ...string[]]) => {
		const child = namespace.spawn(command[0], command.slice(1), { stdio: "inherit" });
		const [status] = await once(child, "exit");
		if (status !== 0) throw new Error(`${command.join(" ")} ended with status ${status}`);
	};
	await run("touch", join(folder, "file"));
	await run("chown", "1:1", join(folder, "file"));
	console.log(`the file of uid 1 inside belongs to uid ${statSync(join(folder, "file")).uid} outside`);
	await run("rm", "-r", folder);
}

if (process.geteuid?.() === 0) throw new Error("rootless.js needs a caller without root privilege");
try {
	// Inside, 0 is this user, and the IDs from 1 are the subordinate IDs. With { keepId: true } the user has the same ID inside.
	const mapping = Mapping.rootless();
	const namespace = await UserNamespace.create(mapping);
	console.log(`mapping: ${mapping}`);
	try {
		await showOwners(namespace);
	} finally {
		namespace.close();
	}
} catch (error) {
	// The hint names one thing to do: a package to install, a line to add, a sysctl to change.
	if (!(error instanceof UsernsError)) throw error;
	console.error(`${error.message}\n${error.hint}`);
	process.exitCode = 1;
}
