// Builds the programs that this package is compared with, and finds those that are installed.
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const source = fileURLToPath(new URL("peers", import.meta.url));
/** Git-ignored, not in the package, and deleted by the next build. */
export const built = fileURLToPath(new URL("../dist/bench", import.meta.url));

function installed(program) {
	return spawnSync("sh", ["-c", 'command -v "$1"', "sh", program], { stdio: "ignore" }).status === 0;
}

/** Throws if the program does not compile, because that is a mistake in the benchmark and no reason to leave a subject out. */
function compile(command, args, options = {}) {
	const { status, error } = spawnSync(command, args, { cwd: source, stdio: ["ignore", 2, 2], ...options });
	if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error?.message ?? `status ${status}`}`);
}

/** The path of each program, or the reason why there is none. */
export function buildPeers() {
	const peers = {};
	const cc = process.env.CC || "cc";
	mkdirSync(built, { recursive: true });
	for (const name of ["creation", "descriptor", "extras", "mounts"]) {
		const program = join(built, name);
		compile(cc, ["-D_GNU_SOURCE", "-O2", "-pthread", `${name}.c`, "-o", program]);
		peers[name] = { program };
	}
	const headers = join(dirname(createRequire(import.meta.url).resolve("node-api-headers")), "include");
	const addOn = ["-shared", "-fPIC", `-I${headers}`, "usage.c", "-o", join(built, "usage.node")];
	compile(cc, ["-D_GNU_SOURCE", "-O2", ...addOn]);
	if (installed("go")) {
		const program = join(built, "runc-way");
		compile("go", ["build", "-o", program, "main.go"], { cwd: join(source, "runc-way") });
		peers["runc-way"] = { program };
	} else peers["runc-way"] = { reason: "go is not installed (Debian: golang-go)" };
	for (const program of ["unshare", "nsenter", "bwrap", "findmnt", "bindfs", "mount", "chown", "prlimit"]) {
		peers[program] = installed(program) ? { program } : { reason: `${program} is not installed` };
	}
	return peers;
}
