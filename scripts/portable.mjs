// Links the add-on so that one file loads under glibc from 2.17 on and under musl: it names no C library, and uses only symbols
// that both have in the process (docs/adr/052-one-native-file.md).
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The symbols that the add-on may use, by the version that glibc gives them on x86-64. Newer versions than 2.17 are not allowed. */
const SYMBOLS = {
	"2.2.5": `__cxa_atexit __cxa_finalize __errno_location asprintf calloc clone close dprintf fcntl free fstatfs geteuid getpid ioctl
		kill malloc memcmp memcpy memmove memset open poll prctl pthread_attr_destroy pthread_attr_init pthread_attr_setstacksize
		pthread_create pthread_join pthread_mutex_destroy pthread_mutex_init pthread_mutex_lock pthread_mutex_unlock pthread_self
		pthread_sigmask read realloc recv recvmsg setsockopt sigfillset snprintf socketpair statfs strchr strcmp strcpy strcspn
		strdup strlen strncmp strrchr strstr strtok_r strtol stpcpy syscall waitid write`,
	"2.3.2":
		"pthread_cond_broadcast pthread_cond_destroy pthread_cond_init pthread_cond_signal pthread_cond_wait",
	"2.3.4": "sched_getaffinity sched_setaffinity",
	2.4: "__stack_chk_fail mkdirat openat unshare",
	2.6: "__sched_cpucount sched_getcpu",
	2.9: "pipe2",
	2.17: "clock_gettime",
};

const names = (text) => text.split(/\s+/);

/** For each processor: the symbols of each version. glibc for arm64 began with 2.17, which all its symbols have. */
const VERSIONS = {
	x64: Object.fromEntries(Object.entries(SYMBOLS).map(([version, text]) => [version, names(text)])),
	arm64: { 2.17: [...Object.values(SYMBOLS).flatMap(names), "__stack_chk_guard"] },
};

/** The processors that have a portable file. */
export const ARCHITECTURES = Object.keys(VERSIONS);

/** Compiler flags that keep functions out of the file which only one C library has. */
export const PORTABLE_FLAGS = {
	// Some compilers define _FORTIFY_SOURCE themselves, and musl has none of its functions.
	x64: ["-U_FORTIFY_SOURCE"],
	// Out-of-line atomics call getauxval under a name of glibc.
	arm64: ["-U_FORTIFY_SOURCE", "-mno-outline-atomics"],
};

/**
 * Makes a library in the folder that has the symbols and nothing else, so that the versions do not depend on the C library of
 * the machine. Returns the arguments with which the add-on is linked to it.
 */
export function portableLink(folder, arch, compile) {
	const versions = Object.entries(VERSIONS[arch]);
	const symbols = versions.flatMap(([, list]) => list);
	const declare = (name) => (name === "__stack_chk_guard" ? `long ${name};` : `void ${name}(void) {}`);
	const map = versions.map(([version, list]) => `GLIBC_${version} { global: ${list.join("; ")}; };`);
	writeFileSync(join(folder, "libc.c"), `${symbols.map(declare).join("\n")}\n`);
	writeFileSync(join(folder, "libc.map"), `${map.join("\n").replace("; };", "; local: *; };")}\n`);
	const stub = join(folder, "libc.so.6");
	compile([
		...["-w", "-O0", "-fPIC", "-shared", "-nostdlib", "-fno-builtin", "-fno-stack-protector"],
		...["-Wl,-soname,libc.so.6", `-Wl,--version-script=${join(folder, "libc.map")}`],
		...[join(folder, "libc.c"), "-o", stub],
	]);
	// Node has the symbols of Node-API; checkPortable() finds any other one that the library lacks.
	return ["-nodefaultlibs", "-Wl,--unresolved-symbols=ignore-all", stub, "-lgcc"];
}

const PT_DYNAMIC = 2;
const DT_NEEDED = 1n;

/**
 * Removes the name of the C library from the file: Bun for musl refuses an add-on that names that of glibc, and musl does not find
 * it by that name. The process has loaded its C library before.
 */
export function removeNeeded(file) {
	const bytes = readFileSync(file);
	const [headers, size, count] = [
		Number(bytes.readBigUInt64LE(32)),
		bytes.readUInt16LE(54),
		bytes.readUInt16LE(56),
	];
	const offsets = Array.from({ length: count }, (_, index) => headers + index * size);
	const dynamic = offsets.find((offset) => bytes.readUInt32LE(offset) === PT_DYNAMIC);
	const start = Number(bytes.readBigUInt64LE(dynamic + 8));
	const length = Number(bytes.readBigUInt64LE(dynamic + 32));
	const entries = Array.from({ length: length / 16 }, (_, index) =>
		Buffer.from(bytes.subarray(start + index * 16, start + index * 16 + 16)),
	);
	const kept = Buffer.concat(entries.filter((entry) => entry.readBigInt64LE(0) !== DT_NEEDED));
	bytes.fill(0, start, start + length);
	kept.copy(bytes, start);
	writeFileSync(file, bytes);
}

function output(compiler, tool, args) {
	const { stdout } = spawnSync(compiler, [`-print-prog-name=${tool}`], { encoding: "utf8" });
	const result = spawnSync(stdout.trim(), args, { encoding: "utf8", env: { ...process.env, LC_ALL: "C" } });
	if (result.status !== 0)
		throw new Error(`${tool} ${args.join(" ")}: ${result.error?.message ?? result.stderr}`);
	return result.stdout;
}

/** Returns what is wrong with a file, in words. `forbidden` are texts that it must not contain, such as paths of the machine. */
export function checkPortable(file, arch, compiler, forbidden = []) {
	const wrong = [];
	const allowed = new Map(
		Object.entries(VERSIONS[arch]).flatMap(([version, list]) =>
			list.map((name) => [name, `GLIBC_${version}`]),
		),
	);
	for (const line of output(compiler, "nm", ["-D", "--undefined-only", file]).trim().split("\n")) {
		const [kind, symbol] = line.trim().split(/\s+/);
		const [name, version] = symbol.split(/@+/);
		if (/^(napi|node_api)_/.test(name)) continue;
		// Weak: the compiler's start files ask for them, and work without them.
		if (kind === "w" && version === undefined) continue;
		if (allowed.get(name) !== version)
			wrong.push(`the symbol ${symbol} is not in the list of scripts/portable.mjs`);
	}
	const dynamic = output(compiler, "readelf", ["-dW", file]);
	const segments = output(compiler, "readelf", ["-lW", file]);
	const versions = output(compiler, "readelf", ["-VW", file]);
	if (dynamic.includes("(NEEDED)")) wrong.push("it names a library (DT_NEEDED)");
	if (/RPATH|RUNPATH/.test(dynamic)) wrong.push("it has a search path for libraries");
	if (!dynamic.includes("BIND_NOW") || !segments.includes("GNU_RELRO")) wrong.push("it has no full RELRO");
	if (/GNU_STACK.*RWE/.test(segments) || !segments.includes("GNU_STACK"))
		wrong.push("its stack is executable");
	if (/LOAD.*RWE/.test(segments)) wrong.push("a segment is writable and executable");
	if (dynamic.includes("TEXTREL")) wrong.push("it has relocations in its code");
	if (!allowed.has("__stack_chk_fail") || !output(compiler, "nm", ["-D", file]).includes("__stack_chk_fail"))
		wrong.push("it has no stack protector");
	for (const [, major, minor] of versions.matchAll(/GLIBC_(\d+)\.(\d+)/g)) {
		if (Number(major) !== 2 || Number(minor) > 17) wrong.push(`it needs glibc ${major}.${minor}`);
	}
	if (/GLIBC_(ABI|PRIVATE)/.test(versions)) wrong.push("it needs a private interface of glibc");
	const text = readFileSync(file, "latin1");
	for (const each of forbidden) if (text.includes(each)) wrong.push(`it contains ${each}`);
	return wrong;
}
