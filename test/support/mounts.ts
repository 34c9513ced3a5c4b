import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mountIdmapped, UsernsError } from "../../src/index.ts";
import { sh } from "./child.ts";

let tmpfsCan: boolean | undefined;

/** Whether this kernel can ID-map a tmpfs (since Linux 6.3), by a trial: `folder` is on one. */
async function canMapTmpfs(folder: string): Promise<boolean> {
	try {
		(await mountIdmapped({ source: folder, mapping: "0:1:1" })).close();
		return true;
	} catch (error) {
		if (error instanceof UsernsError && error.syscall === "mount_setattr" && error.errnoCode === "EINVAL")
			return false;
		// A kernel without mount_setattr(2) maps nothing, and the tests that need it are skipped ("mounts" in needs.ts).
		if (error instanceof UsernsError && error.code === "ERR_USERNS_UNSUPPORTED_KERNEL") return true;
		throw error;
	}
}

/** Mounts a fresh ext4 at a folder. Its image has no name, and ends with the mount. */
function mountExt4(folder: string): void {
	const images = mkdtempSync(join(tmpdir(), "userns-image-"));
	const image = join(images, "image");
	try {
		sh("truncate", "-s", "16M", image);
		sh("mkfs.ext4", "-q", "-O", "^has_journal", image);
		sh("mount", "-o", "loop", image, folder);
	} finally {
		rmSync(images, { recursive: true });
	}
	rmSync(join(folder, "lost+found"), { recursive: true });
}

/**
 * Mounts a fresh file system that can be ID-mapped: a tmpfs, or an ext4 if the kernel cannot map a tmpfs. A test that
 * does not care for the type must work with both.
 */
export async function mountFresh(folder: string): Promise<void> {
	sh("mount", "-t", "tmpfs", "userns-test", folder);
	tmpfsCan ??= await canMapTmpfs(folder);
	if (tmpfsCan) return;
	sh("umount", folder);
	mountExt4(folder);
	chmodSync(folder, 0o1777); // as the root of a tmpfs
}

/** The type of the file system that {@link mountFresh} mounts. */
export function freshType(): "tmpfs" | "ext4" {
	return tmpfsCan === false ? "ext4" : "tmpfs";
}

/** A folder with a fresh file system of {@link mountFresh}. At the end everything below is unmounted and removed. */
export async function withTmpfs(body: (folder: string) => void | Promise<void>): Promise<void> {
	const folder = mkdtempSync(join(tmpdir(), "userns-test-"));
	await mountFresh(folder);
	try {
		await body(folder);
	} finally {
		sh("umount", "-R", "-l", folder);
		rmSync(folder, { recursive: true });
	}
}

/** A folder with a fresh ext4 on a loop device. */
export async function withExt4(body: (folder: string) => void | Promise<void>): Promise<void> {
	await withTmpfs(async (folder) => {
		const image = join(folder, "image");
		const target = join(folder, "ext4");
		writeFileSync(image, "");
		sh("truncate", "-s", "16M", image);
		sh("mkfs.ext4", "-q", image);
		mkdirSync(target);
		sh("mount", "-o", "loop", image, target);
		await body(target);
		sh("umount", target);
	});
}

export function mkdirs(folder: string, ...names: string[]): string[] {
	return names.map((name) => {
		const path = join(folder, name);
		if (!existsSync(path)) mkdirSync(path, { recursive: true });
		return path;
	});
}

/** The kernel writes blanks and backslashes of a path as three octal digits. */
export function unescapeOctal(text: string): string {
	return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
		String.fromCharCode(Number.parseInt(digits, 8)),
	);
}

/** The fields of the topmost mount at a path in /proc/self/mountinfo, or undefined. */
export function mountAt(
	path: string,
): { id: number; options: string[]; optional: string[]; type: string } | undefined {
	const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
	const line = lines.filter((text) => unescapeOctal(text.split(" ")[4] ?? "") === path).at(-1);
	if (line === undefined) return undefined;
	const [left = "", right = ""] = line.split(" - ");
	const fields = left.split(" ");
	return {
		id: Number(fields[0]),
		options: (fields[5] ?? "").split(","),
		optional: fields.slice(6),
		type: right.split(" ")[0] ?? "",
	};
}
