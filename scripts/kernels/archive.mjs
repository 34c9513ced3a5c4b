// Writes an initramfs in the kernel's archive format "newc": see Documentation/driver-api/early-userspace in the kernel.
import { lstatSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";

function padded(buffer) {
	return Buffer.concat([buffer, Buffer.alloc(-buffer.length & 3)]);
}

function entry(index, name, mode, content) {
	const hex = (number) => number.toString(16).padStart(8, "0");
	const path = Buffer.from(`${name}\0`);
	// magic, ino, mode, uid, gid, nlink, mtime, filesize, the device twice, namesize, check
	const fields = [index, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, path.length, 0];
	const header = Buffer.from(`070701${fields.map(hex).join("")}`);
	return Buffer.concat([padded(Buffer.concat([header, path])), padded(content)]);
}

/** Archives a folder, with root as the owner. Uncompressed, because the emulated machine would unpack it slowly. */
export function writeInitramfs(folder, file) {
	const parts = [];
	const add = (path) => {
		const stat = lstatSync(path);
		const content = stat.isFile()
			? readFileSync(path)
			: stat.isSymbolicLink()
				? Buffer.from(readlinkSync(path))
				: Buffer.alloc(0);
		if (path !== folder) parts.push(entry(parts.length + 1, relative(folder, path), stat.mode, content));
		if (stat.isDirectory()) for (const name of readdirSync(path)) add(join(path, name));
	};
	add(folder);
	parts.push(entry(0, "TRAILER!!!", 0, Buffer.alloc(0)));
	writeFileSync(file, Buffer.concat(parts));
}
