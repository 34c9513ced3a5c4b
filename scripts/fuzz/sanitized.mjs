// Runs the tests with the C part under AddressSanitizer and UndefinedBehaviorSanitizer, in a copy of the project, so that the
// normal build does not change.
import { spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addonFile, compileInto, findCompiler, SANITIZED } from "../build-native.mjs";
import { root } from "../setup.mjs";

/** The files and folders that the tests read. */
const PARTS = ["package.json", "README.md", "docs", "dist", "examples", "native", "scripts", "src", "test"];

/** Node is built without sanitizers, so their run-time library must be preloaded before the add-on is loaded. */
function runtime(compiler) {
	const { stdout } = spawnSync(compiler, ["-print-file-name=libasan.so"], { encoding: "utf8" });
	const file = stdout?.trim() ?? "";
	if (file.startsWith("/") && existsSync(file)) return file;
	console.error(`userns: ${compiler} has no libasan.so`);
	console.error(
		"hint: GCC has it in its own package of libraries (Debian: libgcc-12-dev, of gcc itself); set CC to gcc.",
	);
	return process.exit(1);
}

export function testSanitized(folders) {
	const compiler = findCompiler();
	const copy = mkdtempSync(join(tmpdir(), "userns-sanitized-"));
	try {
		for (const part of PARTS) cpSync(join(root, part), join(copy, part), { recursive: true });
		symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
		compileInto(addonFile(process.arch, copy), compiler, SANITIZED);
		const reports = mkdtempSync(join(copy, "reports-"));
		const log = `log_path=${join(reports, "report")}`;
		const env = {
			...process.env,
			LD_PRELOAD: runtime(compiler),
			// Leaks: V8 and Node free little at their end, so leaks of the add-on could not be distinguished. The harnesses find them.
			// Signals: a process that a test kills must end by the signal, and not by the report of the sanitizer.
			ASAN_OPTIONS: `detect_leaks=0:abort_on_error=1:handle_segv=0:handle_sigbus=0:${log}`,
			UBSAN_OPTIONS: `print_stacktrace=1:${log}`,
			USERNS_SLOWER: process.env.USERNS_SLOWER ?? "3",
		};
		const code = `const { runTests } = await import(${JSON.stringify(join(copy, "scripts/test.mjs"))}); runTests(${JSON.stringify(folders)});`;
		const { status } = spawnSync(process.execPath, ["--input-type=module", "-e", code], {
			cwd: copy,
			env,
			stdio: "inherit",
		});
		const found = readdirSync(reports);
		for (const file of found) console.log(readFileSync(join(reports, file), "utf8"));
		console.log(`${found.length} reports of the sanitizers`);
		if (status !== 0 || found.length > 0) process.exitCode = 1;
	} finally {
		rmSync(copy, { recursive: true });
	}
}
