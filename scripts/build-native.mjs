// Compiles the C part with cc: the add-on, and the two static programs that join a namespace.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const source = join(root, "native");
/** The static programs without a C library, with their sources. */
const PROGRAMS = {
	"userns-join": ["programs/userns-join.c"],
	"userns-enter": ["arguments", "exec", "init", "main", "terminal"].map(
		(name) => `programs/userns-enter/${name}.c`,
	),
};

const WARNINGS = [
	"-std=gnu11",
	"-Wall",
	"-Wextra",
	"-Werror",
	"-Wshadow",
	"-Wvla",
	"-Wstrict-prototypes",
	"-Wformat=2",
];
/** The include path is native/, so every include names its folder: "kernel/outcome.h". */
const DEFINES = ["-D_GNU_SOURCE", "-DNAPI_VERSION=8", "-I."];
/** The compiler flags of the add-on and of the programs. */
const FLAVOUR = {
	addon: ["-O2", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong"],
	programs: ["-O2"],
};
/**
 * For tests. AddressSanitizer needs a C library, which the programs do not have, so only undefined behaviour is detected in
 * them: it ends them with an illegal instruction.
 */
export const SANITIZED = {
	addon: [
		"-O1",
		"-g",
		"-fno-omit-frame-pointer",
		"-fsanitize=address,undefined",
		"-fno-sanitize-recover=all",
	],
	programs: ["-O1", "-g", "-fsanitize=undefined", "-fsanitize-undefined-trap-on-error"],
};

function fail(message, hint) {
	console.error(`userns: ${message}\nhint: ${hint}`);
	process.exit(1);
}

/** Returns the compiler: CC if it is set, otherwise cc. Ends the process with a message if the compiler does not work. */
export function findCompiler(compiler = process.env.CC || "cc") {
	const result = spawnSync(compiler, ["--version"], { stdio: ["ignore", "pipe", "ignore"] });
	if (result.error || result.status !== 0) {
		fail(
			`there is no working C compiler: "${compiler} --version" ${result.error ? `failed with ${result.error.code}` : `ended with status ${result.status}`}`,
			"Install one (Debian and Ubuntu: apt-get install gcc libc6-dev; Fedora: dnf install gcc; Alpine: apk add gcc musl-dev), or set CC to yours.",
		);
	}
	return compiler;
}

function headers() {
	try {
		return join(dirname(createRequire(import.meta.url).resolve("node-api-headers")), "include");
	} catch {
		return fail("the package node-api-headers is not installed", "Run npm ci in the project's folder first.");
	}
}

function files(extension) {
	return readdirSync(source, { recursive: true }).filter((file) => file.endsWith(extension));
}

function addonSources() {
	const others = Object.values(PROGRAMS).flat();
	return files(".c").filter((file) => !others.includes(file));
}

function compile(compiler, args) {
	const result = spawnSync(compiler, args, { cwd: source, stdio: "inherit" });
	if (result.status !== 0) {
		fail(
			`the C part does not compile (${compiler} ended with ${result.status ?? result.signal})`,
			"The compiler's own message is above. The kernel's and the C library's headers are needed (Debian: libc6-dev).",
		);
	}
}

function newest(names) {
	return Math.max(...names.map((name) => statSync(name).mtimeMs));
}

/** Returns whether the outputs are newer than all sources, so that most test runs compile nothing. */
function upToDate(outputs) {
	try {
		const inputs = [...files(".c"), ...files(".h")].map((file) => join(source, file));
		return (
			Math.min(...outputs.map((file) => statSync(file).mtimeMs)) >
			newest([...inputs, fileURLToPath(import.meta.url)])
		);
	} catch {
		return false;
	}
}

function outputsIn(folder) {
	return ["userns.node", ...Object.keys(PROGRAMS)].map((name) => join(folder, name));
}

/** Builds for this architecture or, with a cross compiler, for another one. */
export async function buildNative(arch = process.arch, crossCompiler = undefined) {
	const folder = join(root, "build", `linux-${arch}`);
	if (!upToDate(outputsIn(folder))) compileInto(folder, findCompiler(crossCompiler), FLAVOUR);
}

/** Compiles the add-on and the programs into a folder. */
export function compileInto(folder, compiler, flavour) {
	const [addon, ...programs] = outputsIn(folder);
	mkdirSync(folder, { recursive: true });
	// Each output is a new file that is renamed, because a running process may still use the old one.
	compile(compiler, [
		...DEFINES,
		...WARNINGS,
		...flavour.addon,
		"-shared",
		"-fPIC",
		"-fvisibility=hidden",
		"-Wl,-z,relro,-z,now,-z,noexecstack",
		`-I${headers()}`,
		...addonSources(),
		"-o",
		`${addon}.new`,
	]);
	for (const program of programs) {
		compile(compiler, [
			...DEFINES,
			...WARNINGS,
			...flavour.programs,
			"-ffreestanding",
			"-fno-stack-protector",
			"-fno-builtin",
			"-static",
			"-fno-pie",
			"-nostdlib",
			"-Wl,-z,noexecstack,--build-id=none",
			// One segment to map instead of three saves a twentieth of the time of an execve and an exit.
			"-Wl,-z,noseparate-code",
			...PROGRAMS[basename(program)],
			"-o",
			`${program}.new`,
		]);
	}
	for (const output of [addon, ...programs]) renameSync(`${output}.new`, output);
}

/** Runs GCC's static analyser on every file, with warnings as errors. Other compilers do not have it. */
export function analyzeNative() {
	const compiler = findCompiler();
	const version = spawnSync(compiler, ["--version"], { encoding: "utf8" }).stdout;
	if (/clang/i.test(version)) return console.log("analyzer: left out, it is GCC's own");
	for (const file of files(".c")) {
		compile(compiler, [
			...DEFINES,
			...WARNINGS,
			"-O2",
			"-fanalyzer",
			"-fPIC",
			`-I${headers()}`,
			"-c",
			file,
			"-o",
			"/dev/null",
		]);
	}
	console.log(`analyzer: ${files(".c").length} files, nothing found`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await buildNative();
