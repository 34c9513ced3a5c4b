import { existsSync, lstatSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { UsernsError, type UsernsErrorDetails } from "../errors.ts";
import { hasMountOption } from "./process-status.ts";

/*
 * Finds the native add-on and loads it. If that fails, finds the cause: the processor, a bundler, Node's permission model, a mount
 * with noexec, a C library without a symbol, or a file that may not be read.
 */

const PROCESSORS = ["x64", "arm64"];
function fileName(): string {
	return `userns.linux-${process.arch}.node`;
}

/**
 * The file in this package. Each URL is a literal in a `return` statement, because webpack, ncc and @vercel/nft find and copy the
 * files that they see in this form. This module has to stay three folders below the package, also in a bundle of its files.
 */
function packageUrl(): URL | undefined {
	switch (process.arch) {
		case "x64":
			return new URL("../../../prebuilds/userns.linux-x64.node", import.meta.url);
		case "arm64":
			return new URL("../../../prebuilds/userns.linux-arm64.node", import.meta.url);
	}
	return undefined;
}

/** The path of a URL. A bundle has none where the bundler has removed import.meta.url, or replaced it with something else. */
function pathOf(url: () => string | URL | undefined): string | undefined {
	try {
		return fileURLToPath(url() as URL);
	} catch {
		return undefined;
	}
}

/**
 * The file with this code: this module, or the bundle that contains it. A bundle of CommonJS has `__filename`. webpack leaves the
 * URL of the machine that built the bundle in it, where another user may have put a file.
 */
function ownFile(): string | undefined {
	const named = typeof __filename === "string" ? __filename : undefined;
	return [named, pathOf(() => import.meta.url)].find((file) => file !== undefined && isThere(file));
}

/** Whether the folder is the root of this package, and not the folder of a bundle. */
function isPackage(folder: string): boolean {
	try {
		return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).name === "userns";
	} catch {
		return false;
	}
}

/** The root of this package, if this code runs in its own file. */
function packageRoot(): string | undefined {
	const own = ownFile();
	const root = own && join(dirname(own), "../../..");
	return root !== undefined && isPackage(root) ? root : undefined;
}

/**
 * The path of `packageUrl`. In a bundle the same URL leads to a directory that may belong to another user, unless the bundler has
 * replaced it with that of a copy below the bundle.
 */
function packageFile(): string | undefined {
	const root = packageRoot();
	if (root !== undefined) return join(root, "prebuilds", fileName());
	const [file, own] = [pathOf(packageUrl), ownFile()];
	return file !== undefined && own !== undefined && file.startsWith(`${dirname(own)}/`) ? file : undefined;
}

/** The folder of the bundle. Bun shows that of a compiled executable in a folder which only the executable sees. */
function bundleFolder(): string {
	const own = ownFile();
	return dirname(own === undefined || own.startsWith("/$bunfs/") ? process.execPath : own);
}

/**
 * The places of the file, in order: in the package, beside a bundle, and beside a single executable. The working directory is not
 * among them, because it may belong to another user.
 */
function places(): string[] {
	const folders = [bundleFolder(), dirname(process.execPath)];
	const beside = folders.flatMap((folder) => [
		join(folder, fileName()),
		join(folder, "prebuilds", fileName()),
	]);
	return [...new Set([packageFile(), ...beside])].filter((file) => file !== undefined);
}

function ownerOf(file: string | undefined): number | undefined {
	try {
		return file === undefined ? undefined : lstatSync(file).uid;
	} catch {
		return undefined;
	}
}

/**
 * Whether the file belongs to root, to this user, or to the owner of the code that runs already. In a directory that others can
 * write, another user may have given a file this name.
 */
function isTrusted(file: string): boolean {
	const owner = ownerOf(file);
	return [0, process.geteuid?.(), ownerOf(ownFile()), ownerOf(process.execPath)].includes(owner);
}

const LOADING = "the native add-on cannot be loaded";

function failure(why: string, details: UsernsErrorDetails): UsernsError {
	return new UsernsError("ERR_USERNS_NATIVE_MISSING", `${LOADING}: ${why}`, details);
}

/** The permission model of Node, if it is on (`--permission`). */
function permission(): { has(scope: string, reference?: string): boolean } | undefined {
	return (process as { permission?: { has(scope: string, reference?: string): boolean } }).permission;
}

const ALLOW =
	"Start Node.js with --allow-addons and --allow-fs-read for the package, or without --permission and --no-addons.";

/** Node 20 throws if its permission model does not allow to look. */
function isThere(file: string): boolean {
	try {
		return existsSync(file);
	} catch {
		return false;
	}
}

function notFound(files: readonly string[]): UsernsError {
	const [first = fileName()] = files;
	if (permission()?.has("fs.read", first) === false) {
		return failure(`Node's permission model does not allow to read ${first}`, { hint: ALLOW });
	}
	if (!PROCESSORS.includes(process.arch)) {
		return failure(`there is no file for the processor ${process.arch}`, {
			hint: `Use a machine and a Node.js for ${PROCESSORS.join(" or ")}.`,
		});
	}
	if (packageRoot() !== undefined) {
		return failure(`there is no file ${first}`, { hint: buildHint() });
	}
	return failure(
		`a bundle lacks the file ${fileName()}, which is in none of ${files.map(dirname).join(", ")}`,
		{
			hint: `Mark userns as external in the bundler, or copy node_modules/userns/prebuilds/${fileName()} to ${bundleFolder()}.`,
		},
	);
}

/** Names the file of the command, because npx(1) of a package that is installed elsewhere would fetch another one. */
function buildHint(): string {
	const root = packageRoot();
	const command = root === undefined ? "userns build" : `node ${join(root, "dist/src/cli/userns.js")} build`;
	return `Install the package again, or compile the add-on: "${command}". This needs a C compiler and the headers of the C library.`;
}

/** The words of the dynamic loaders of glibc and musl for a symbol that the C library does not have. */
const LACKS_SYMBOL = /version `GLIBC_|undefined symbol|symbol not found|Error relocating/;

function notLoaded(file: string, cause: unknown): UsernsError {
	const { code, message: words = String(cause) } = cause as NodeJS.ErrnoException;
	if (code === "ERR_DLOPEN_DISABLED") {
		return failure("this Node.js process does not allow native add-ons", { hint: ALLOW, cause });
	}
	if (hasMountOption(file, "noexec")) {
		return failure(`${file} is on a mount with the option noexec`, {
			hint: "Install the package on a file system that is mounted without noexec.",
			cause,
		});
	}
	if (LACKS_SYMBOL.test(words)) {
		return failure(`the C library of this machine lacks a symbol: ${words}`, { hint: buildHint(), cause });
	}
	if (/Permission denied/.test(words)) {
		return failure(`${file} may not be read`, {
			hint: `Let this user read it and search the directories above it: "chmod a+r ${file}".`,
			cause,
		});
	}
	return failure(words, { hint: buildHint(), cause });
}

/**
 * Throws for a file that ends before the last byte that its ELF headers name, for example after a download or a copy that was cut
 * off: the dynamic loader maps the file, and an access behind its end is SIGBUS, which ends the process.
 */
function refuseIncomplete(file: string): void {
	let bytes: Buffer;
	try {
		bytes = readFileSync(file);
	} catch {
		return; // the loader reports why
	}
	const needed = neededBytes(bytes);
	if (needed === undefined) throw failure(`${file} is not an ELF file for 64 bits`, { hint: buildHint() });
	if (bytes.length >= needed) return;
	throw failure(`${file} is incomplete: it has ${bytes.length} bytes, and its headers need ${needed}`, {
		hint: buildHint(),
	});
}

/** The least size of an ELF file, by elf(5): the ends of its segments and of its section headers. Undefined for another file. */
function neededBytes(bytes: Buffer): number | undefined {
	const header = 64;
	if (!"\x7fELF\x02\x01".startsWith(bytes.toString("latin1", 0, 6))) return undefined;
	if (bytes.length < header) return header;
	const [phoff, shoff] = [Number(bytes.readBigUInt64LE(32)), Number(bytes.readBigUInt64LE(40))];
	const [phsize = 0, phnum = 0, shsize = 0, shnum = 0] = [54, 56, 58, 60].map((at) => bytes.readUInt16LE(at));
	const tables = Math.max(header, phoff + phsize * phnum, shoff + shsize * shnum);
	if (bytes.length < tables) return tables;
	const ends = Array.from({ length: phnum }, (_, index) => {
		const at = phoff + index * phsize;
		return Number(bytes.readBigUInt64LE(at + 8)) + Number(bytes.readBigUInt64LE(at + 32));
	});
	return Math.max(tables, ...ends);
}

/** ncc puts a script with the name of a native file beside its bundle, and the file itself in prebuilds/. */
function isNative(file: string): boolean {
	try {
		return neededBytes(readFileSync(file)) !== undefined;
	} catch {
		return true; // the loader reports why
	}
}

/** The file of the add-on; throws if there is none that can be trusted. */
export function addonFile(): string {
	const files = places();
	const found = files.filter(isThere);
	const trusted = found.filter(isTrusted);
	const file = trusted.find((each) => trusted.length === 1 || isNative(each)) ?? trusted[0];
	if (found[0] === undefined) throw notFound(files);
	if (file === undefined) {
		throw failure(`${found[0]} belongs to another user, the uid ${ownerOf(found[0])}`, {
			hint: "Let root, this user or the owner of the program own that file.",
		});
	}
	return file;
}

/** Loads the add-on. Not with createRequire(), because webpack replaces a call of it. */
export function loadAddon(): unknown {
	if (process.platform !== "linux") {
		throw new UsernsError(
			"ERR_USERNS_UNSUPPORTED_PLATFORM",
			`user namespaces need Linux, and this platform is ${process.platform}`,
		);
	}
	const file = addonFile();
	refuseIncomplete(file);
	try {
		// With Node's cache of modules, because each load has threads of its own, and a test runner loads this module again and again.
		// Not by an import of node:module, because webpack replaces calls of an imported createRequire().
		return process.getBuiltinModule("node:module").createRequire(file)(file);
	} catch (cause) {
		throw notLoaded(file, cause);
	}
}
