import { UsernsError } from "./errors.ts";

/*
 * The permission model of Node (`--permission`). Its errors have the code ERR_ACCESS_DENIED, and would otherwise be taken for a file
 * or a program that does not exist.
 */

interface Denied {
	code?: unknown;
	permission?: unknown;
	resource?: unknown;
}

/** The flag for a permission of Node's errors, and what it permits. */
const FLAGS: Readonly<Record<string, readonly [flag: string, what: string]>> = {
	FileSystemRead: ["--allow-fs-read=*", "to read"],
	FileSystemWrite: ["--allow-fs-write=*", "to write"],
	ChildProcess: ["--allow-child-process", "to start"],
	WorkerThreads: ["--allow-worker", "to start a thread"],
};

/**
 * Throws `ERR_USERNS_NODE_PERMISSION` for an error of the permission model, and returns for every other error. The hint permits to
 * read every file, because a function reads several: in /proc, in /etc, and in the directories of PATH.
 */
export function refuseDenied(error: unknown, file?: string): void {
	const { code, permission, resource } = (error ?? {}) as Denied;
	if (code !== "ERR_ACCESS_DENIED") return;
	const [flag, verb] = (Object.hasOwn(FLAGS, String(permission)) && FLAGS[String(permission)]) || [
		"",
		"this call",
	];
	const what = [verb, file ?? resource].filter(Boolean).join(" ");
	throw new UsernsError("ERR_USERNS_NODE_PERMISSION", `Node's permission model does not allow ${what}`, {
		hint: `Start Node.js ${flag === "" ? "" : `with ${flag}, or `}without --permission.`,
		cause: error,
	});
}

/** Whether the permission model of Node is on and does not allow to read a file. */
export function isReadDenied(file: string): boolean {
	const { permission } = process as { permission?: { has(scope: string, reference: string): boolean } };
	return permission?.has("fs.read", file) === false;
}
