// Compiles the C part with cc: the two static programs that join a namespace, and the add-on, which contains them.
import { spawnSync } from "node:child_process";
import {
	chmodSync,
	constants,
	copyFileSync,
	existsSync,
	mkdirSync,
	mkdtempSync,
	readdirSync,
	renameSync,
	rmSync,
	statSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ARCHITECTURES, checkPortable, PORTABLE_FLAGS, portableLink, removeNeeded } from "./portable.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
const source = join(root, "native");
/** The static programs without a C library, with their sources. */
const PROGRAMS = {
	"userns-join": ["programs/userns-join.c"],
	"userns-enter": ["arguments", "ask", "exec", "init", "main", "terminal"].map(
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
/** The compiler flags. The add-on is optimized for size, because its time is that of its system calls. */
const FLAVOUR = {
	addon: ["-Os", "-fstack-protector-strong"],
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

/** A folder that is removed at the latest when the process ends, also by fail(). */
function temporaryFolder(prefix) {
	let folder;
	try {
		folder = mkdtempSync(join(tmpdir(), prefix));
	} catch (error) {
		fail(`${tmpdir()} cannot be written (${error.code})`, "Set TMPDIR to a directory that can be written.");
	}
	process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
	return folder;
}

/** The assembler looks for an embedded program in the working directory first. */
function refuseStray() {
	const stray = Object.keys(PROGRAMS).find((name) => existsSync(join(source, name)));
	if (stray !== undefined) fail(`native/${stray} would be embedded in the add-on`, "Remove that file.");
}

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

/** The headers of Node-API: of the package node-api-headers, or the copy in an installed package (scripts/bundle.mjs). */
function headers() {
	const copy = join(root, "dist/include");
	try {
		return join(dirname(createRequire(import.meta.url).resolve("node-api-headers")), "include");
	} catch {
		if (existsSync(join(copy, "node_api.h"))) return copy;
		return fail("the package node-api-headers is not installed", "Run npm ci in the project's folder first.");
	}
}

function files(extension) {
	// In an order of their own, because that of the directory is not the same everywhere.
	return readdirSync(source, { recursive: true })
		.filter((file) => file.endsWith(extension))
		.sort();
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

/** The file of the add-on for a processor. */
export function addonFile(arch = process.arch, folder = root) {
	return join(folder, "prebuilds", `userns.linux-${arch}.node`);
}

/** Returns whether the file is newer than all sources, so that most test runs compile nothing. */
function upToDate(file) {
	try {
		const inputs = [...files(".c"), ...files(".h")].map((each) => join(source, each));
		const scripts = ["build-native.mjs", "portable.mjs"].map((each) => join(root, "scripts", each));
		const newest = Math.max(...[...inputs, ...scripts].map((each) => statSync(each).mtimeMs));
		return statSync(file).mtimeMs >= newest;
	} catch {
		return false;
	}
}

/** Builds for this architecture or, with a cross compiler, for another one. */
export function buildNative(arch = process.arch, crossCompiler = undefined) {
	const file = addonFile(arch);
	if (!upToDate(file)) compileInto(file, findCompiler(crossCompiler), FLAVOUR, arch);
}

/** The compilers for another processor, with Debian's packages. */
export const CROSS = {
	x64: { compiler: "x86_64-linux-gnu-gcc", packages: "gcc-x86-64-linux-gnu libc6-dev-amd64-cross" },
	arm64: { compiler: "aarch64-linux-gnu-gcc", packages: "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" },
};

/** Builds for this architecture, and for the others of the package that this machine has a compiler for. Returns those left out. */
export function buildForAll() {
	buildNative();
	return ARCHITECTURES.filter((arch) => {
		if (arch === process.arch) return false;
		const { compiler } = CROSS[arch];
		if (spawnSync(compiler, ["--version"], { stdio: "ignore" }).status !== 0) return true;
		buildNative(arch, compiler);
		return false;
	});
}

/**
 * The structures of musl are smaller than those of glibc on arm64, so a file for both can be compiled with glibc's headers only.
 */
function hasHeadersOfGlibc(compiler) {
	const macros = spawnSync(compiler, ["-E", "-dM", "-include", "stdlib.h", "-x", "c", "/dev/null"], {
		encoding: "utf8",
	});
	return macros.stdout?.includes("#define __GLIBC__ ") ?? false;
}

function compileProgram(compiler, flavour, sources, file) {
	compile(compiler, [
		...DEFINES,
		...WARNINGS,
		...flavour.programs,
		"-fno-ident",
		"-ffreestanding",
		"-fno-stack-protector",
		"-fno-builtin",
		"-static",
		"-fno-pie",
		"-nostdlib",
		"-s",
		"-Wl,-z,noexecstack,--build-id=none",
		// One segment to map instead of three saves a twentieth of the time of an execve and an exit.
		"-Wl,-z,noseparate-code",
		...sources,
		"-o",
		file,
	]);
}

/** Compiles both programs into a folder, for the add-on, and for tests that run one of them alone. */
export function compilePrograms(folder, compiler, flavour = FLAVOUR) {
	for (const [name, sources] of Object.entries(PROGRAMS)) {
		compileProgram(compiler, flavour, sources, join(folder, name));
	}
}

/**
 * Compiles the add-on with the programs in it. The file works with every C library if `flavour` is FLAVOUR and the processor has a
 * list of symbols; otherwise it is linked to that of this machine. Returns whether it works with every one.
 */
export function compileInto(file, compiler, flavour, arch = process.arch) {
	const folder = temporaryFolder("userns-build-");
	refuseStray();
	const portable = flavour === FLAVOUR && ARCHITECTURES.includes(arch) && hasHeadersOfGlibc(compiler);
	try {
		compilePrograms(folder, compiler, flavour);
		const libraries = portable ? portableLink(folder, arch, (args) => compile(compiler, args)) : [];
		const output = join(folder, "userns.node");
		compile(compiler, [
			...DEFINES,
			...WARNINGS,
			...flavour.addon,
			...(portable ? [...PORTABLE_FLAGS[arch], "-fno-ident", "-s", "-Wl,--build-id=none"] : []),
			"-shared",
			"-fPIC",
			"-fvisibility=hidden",
			"-Wl,-z,relro,-z,now,-z,noexecstack,--hash-style=both",
			`-I${headers()}`,
			`-Wa,-I,${folder}`,
			...addonSources(),
			"-o",
			output,
			...libraries,
		]);
		if (portable) {
			removeNeeded(output);
			const wrong = checkPortable(output, arch, compiler, [root, folder]);
			if (wrong.length > 0)
				fail(`the add-on is not portable: ${wrong.join("; ")}`, "Mend native/ or scripts/portable.mjs.");
		}
		install(output, file);
	} finally {
		rmSync(folder, { recursive: true });
	}
	return portable;
}

const WRITE_HINTS = {
	EROFS: "Make that file system writable, or build the package before it is copied there: it is read-only.",
	ENOSPC: "Make room on that file system: it is full.",
	EDQUOT: "Make room on that file system: the disk quota of this user is exceeded.",
};

/** Replaces a file by another one, because a running process may still use the old one. A mode of its own, whatever the umask is. */
function install(from, to) {
	const fresh = `${to}.${process.pid}.new`;
	try {
		mkdirSync(dirname(to), { recursive: true });
		copyFileSync(from, fresh, constants.COPYFILE_EXCL);
		chmodSync(fresh, 0o644);
		renameSync(fresh, to);
	} catch (error) {
		rmSync(fresh, { force: true });
		const hint = WRITE_HINTS[error.code] ?? "Run the command as the user that installed the package.";
		fail(`${to} cannot be written (${error.code})`, hint);
	}
}

/** Runs GCC's static analyser on every file, with warnings as errors. Other compilers do not have it. */
export function analyzeNative() {
	const compiler = findCompiler();
	const version = spawnSync(compiler, ["--version"], { encoding: "utf8" }).stdout;
	if (/clang/i.test(version)) return console.log("analyzer: left out, it is GCC's own");
	const folder = temporaryFolder("userns-analyze-");
	compilePrograms(folder, compiler);
	for (const file of files(".c")) {
		compile(compiler, [
			...DEFINES,
			...WARNINGS,
			"-O2",
			"-fanalyzer",
			"-fPIC",
			`-I${headers()}`,
			`-Wa,-I,${folder}`,
			"-c",
			file,
			"-o",
			"/dev/null",
		]);
	}
	rmSync(folder, { recursive: true });
	console.log(`analyzer: ${files(".c").length} files, nothing found`);
}

/** `userns build`: compiles, whether or not there is a file, and loads the result. */
function buildAnew() {
	const file = addonFile();
	const portable = compileInto(file, findCompiler(), FLAVOUR);
	try {
		createRequire(import.meta.url)(file);
	} catch (error) {
		fail(
			`${file} was compiled, but does not load: ${error.message}`,
			"See docs/errors.md, ERR_USERNS_NATIVE_MISSING.",
		);
	}
	console.log(`${file}: compiled for ${portable ? "every C library" : "the C library of this machine"}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	if (process.argv.includes("--anew")) buildAnew();
	else buildNative();
}
