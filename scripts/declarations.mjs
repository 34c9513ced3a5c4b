// Joins the declarations that tsc has emitted into one file, which has only what src/index.ts exports, and writes the report of
// the public interface (docs/adr/053-one-declaration-file.md). `--accept` replaces the report in etc/.
import { spawnSync } from "node:child_process";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Extractor, ExtractorConfig } from "@microsoft/api-extractor";
import { root } from "./setup.mjs";

const FILE = "dist/userns.d.ts";
const NAME = "userns.api.md";
const ACCEPTED = join(root, "etc", NAME);
const REPORT = join(root, "dist", NAME);

/** In the analysis, as in tsconfig.json. */
const compilerOptions = {
	target: "es2022",
	lib: ["es2023", "esnext.disposable"],
	module: "nodenext",
	types: ["node"],
	strict: true,
	skipLibCheck: true,
	allowImportingTsExtensions: true,
	noEmit: true,
};

const OFF = { logLevel: "none" };

const configObject = {
	projectFolder: root,
	newlineKind: "lf",
	mainEntryPointFilePath: join(root, "dist/declarations/src/index.d.ts"),
	compiler: { overrideTsconfig: { compilerOptions, files: ["dist/declarations/src/index.d.ts"] } },
	apiReport: {
		enabled: true,
		reportFileName: NAME,
		reportFolder: join(root, "etc"),
		reportTempFolder: join(root, "dist"),
	},
	docModel: { enabled: false },
	tsdocMetadata: { enabled: false },
	dtsRollup: { enabled: true, untrimmedFilePath: join(root, FILE) },
	messages: {
		compilerMessageReporting: { default: { logLevel: "error" } },
		// A public declaration that names a type of another file, which is not exported, is an error.
		extractorMessageReporting: {
			default: { logLevel: "error" },
			"ae-missing-release-tag": OFF,
			"ae-undocumented": OFF,
		},
		tsdocMessageReporting: { default: { logLevel: "error" } },
	},
};

/** A line that names a type of @types/node, or of the library "dom". */
const FOREIGN = /^(?=import |.*\b(?:AbortSignal|NodeJS\.\w+)\b)([\t ]*)/gm;

/**
 * Lets the declarations compile without @types/node, and with libraries that have neither AbortSignal nor Symbol.dispose. A type
 * that is not there is `any`, because @ts-ignore suppresses the error. `types` asks for @types/node, if it is installed, because
 * TypeScript 6 and later load only the packages that are named.
 */
function standAlone(text) {
	const head = '// @ts-ignore\n/// <reference types="node" />\n/// <reference lib="esnext.disposable" />\n';
	return head + text.replace(FOREIGN, "$1// @ts-ignore\n$1");
}

export function joinDeclarations() {
	const config = ExtractorConfig.prepare({
		configObject,
		configObjectFullPath: undefined,
		packageJsonFullPath: join(root, "package.json"),
	});
	const { succeeded, apiReportChanged, errorCount } = Extractor.invoke(config, {
		localBuild: false,
		messageCallback(message) {
			// checkApi() reports a change.
			if (message.messageId.startsWith("console-")) message.logLevel = "none";
		},
	});
	if (errorCount > 0 || !(succeeded || apiReportChanged)) process.exit(1);
	const file = join(root, FILE);
	writeFileSync(file, standAlone(readFileSync(file, "utf8")));
}

/** Ends the process with status 1 if the public interface is not the one that the report in etc/ describes. */
export function checkApi() {
	const { status } = spawnSync("diff", ["-u", ACCEPTED, REPORT], { stdio: "inherit" });
	if (status === 0) return;
	console.error(`userns: the public interface is not that of etc/${NAME}`);
	console.error('hint: If the change is meant: "npm run api:accept", and an entry in CHANGELOG.md.');
	process.exit(1);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
	if (process.argv.includes("--accept")) copyFileSync(REPORT, ACCEPTED);
	else checkApi();
}
