// Builds the package, and its native files twice, in folders with other names and under other settings, which must give the same
// bytes. `npm pack` and a git installation run this (package.json: prepare, prepack, prepublishOnly).
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "./build.mjs";
import { addonFile, buildForAll, CROSS } from "./build-native.mjs";
import { ARCHITECTURES, checkPortable } from "./portable.mjs";
import { root } from "./setup.mjs";

/** Compiles in a copy of the sources below a folder of that name, and returns the file's bytes. */
function compileElsewhere(name, arch, compiler, env) {
	const folder = mkdtempSync(join(tmpdir(), name));
	try {
		for (const part of ["native", "scripts", "node_modules/node-api-headers"]) {
			cpSync(join(root, part), join(folder, part), { recursive: true });
		}
		const code = `(await import(${JSON.stringify(join(folder, "scripts/build-native.mjs"))})).buildNative("${arch}", "${compiler}")`;
		const { status } = spawnSync(
			"sh",
			["-c", `umask ${env.UMASK}; exec "$@"`, "sh", process.execPath, "--input-type=module", "-e", code],
			{
				cwd: folder,
				env: { ...process.env, ...env },
				stdio: "inherit",
			},
		);
		if (status !== 0) throw new Error(`the native file for ${arch} does not compile`);
		return readFileSync(addonFile(arch, folder));
	} finally {
		rmSync(folder, { recursive: true, force: true });
	}
}

/** Compiles the file again elsewhere, and compares it with the one that the build has made and checked (scripts/portable.mjs). */
export function compareBuilds(arch) {
	const compiler = arch === process.arch ? process.env.CC || "cc" : CROSS[arch].compiler;
	const env = { UMASK: "077", TZ: "Asia/Tokyo", LC_ALL: "C.UTF-8", HOME: "/" };
	const again = compileElsewhere("userns-again-", arch, compiler, env);
	const file = addonFile(arch);
	if (!readFileSync(file).equals(again)) throw new Error(`two builds of ${file} are not the same`);
	// A compiler with the headers of musl makes a file for its own C library.
	const wrong = checkPortable(file, arch, compiler, [root]);
	if (wrong.length > 0) throw new Error(`${file} is not portable: ${wrong.join("; ")}`);
	console.log(`${file.slice(root.length)}: ${again.length} bytes, the same in two builds`);
}

/** What must be there before the package is published. */
function refuseIncomplete(left) {
	const { repository, homepage, bugs } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
	const missing = Object.entries({ repository, homepage, bugs }).filter(([, value]) => value === undefined);
	if (missing.length > 0) {
		console.error(`userns: package.json lacks ${missing.map(([name]) => name).join(", ")}`);
		console.error("hint: Set them to the addresses of the project before it is published.");
	}
	if (left.length > 0 || missing.length > 0) process.exit(1);
}

/** npm and pnpm run "prepare" after "prepack". yarn runs only "prepack", also for a git dependency. */
function isRepeated() {
	const { npm_lifecycle_event: event, npm_config_user_agent: agent = "" } = process.env;
	return event === "prepack" && /^p?npm\//.test(agent);
}

if (process.argv[1] === fileURLToPath(import.meta.url) && !isRepeated()) {
	if (!ARCHITECTURES.includes(process.arch) || process.platform !== "linux") {
		console.error(`userns: the package cannot be built on ${process.platform} ${process.arch}`);
		console.error("hint: Pack it on Linux on x64 or arm64.");
		process.exit(1);
	}
	await build();
	const left = buildForAll();
	for (const arch of left) {
		rmSync(addonFile(arch), { force: true }); // it may be older than the source
		console.error(`userns: the package has no file for ${arch}, because there is no ${CROSS[arch].compiler}`);
		console.error(`hint: Install it (Debian: apt-get install ${CROSS[arch].packages}).`);
	}
	for (const arch of ARCHITECTURES) if (!left.includes(arch)) compareBuilds(arch);
	if (process.argv.includes("--publish")) refuseIncomplete(left);
}
