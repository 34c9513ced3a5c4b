// Builds the programs that this package is measured against, or says why one is left out.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("peers", import.meta.url));
/** Git-ignored, not in the package, and gone with the next build. */
export const built = fileURLToPath(new URL("../dist/bench", import.meta.url));

function installed(program) {
	return spawnSync("sh", ["-c", 'command -v "$1"', "sh", program], { stdio: "ignore" }).status === 0;
}

/** Throws when the program does not compile: that is a mistake of the benchmark's, and no reason to leave it out. */
function compile(command, args, options = {}) {
	const { status, error } = spawnSync(command, args, { cwd: source, stdio: ["ignore", 2, 2], ...options });
	if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? `status ${status}`}`);
}

/** Each peer: the path of the program, or the reason why there is none. */
export function buildPeers() {
	const peers = {};
	mkdirSync(built, { recursive: true });
	for (const name of ["creation", "descriptor", "extras", "mounts"]) {
		const program = join(built, name);
		compile(process.env.CC || "cc", ["-D_GNU_SOURCE", "-O2", "-pthread", `${name}.c`, "-o", program]);
		peers[name] = { program };
	}
	if (installed("go")) {
		const program = join(built, "runc-way");
		compile("go", ["build", "-o", program, "main.go"], { cwd: join(source, "runc-way") });
		peers["runc-way"] = { program };
	} else peers["runc-way"] = { reason: "go is not installed (Debian: golang-go)" };
	for (const program of ["unshare", "bindfs", "mount", "chown", "prlimit"]) {
		peers[program] = installed(program) ? { program } : { reason: `${program} is not installed` };
	}
	return peers;
}
