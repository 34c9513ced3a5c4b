import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as oracle from "./oracle.ts";
import type { Traits } from "./reading.ts";
import { type Shape, samples } from "./shapes.ts";
import { aclNamed, capabilitiesNamed, named, namespaceRoot } from "./tree.ts";

// The same attributes with common programs, which know nothing of the map.

const NAME = "cap_net_bind_service";

interface Answer {
	status: number | null;
	output: string;
}

function run(cwd: string, command: string, ...args: string[]): Answer {
	const { error, status, stdout, stderr } = spawnSync(command, args, {
		cwd,
		encoding: "utf8",
		env: { ...process.env, LC_ALL: "C" },
	});
	if (error) throw error;
	return { status, output: status === 0 ? stdout : stderr };
}

function succeed(cwd: string, command: string, ...args: string[]): string {
	const { status, output } = run(cwd, command, ...args);
	assert.equal(status, 0, `${command} ${args.join(" ")}: ${output}`);
	return output;
}

function fail(message: RegExp, cwd: string, command: string, ...args: string[]): void {
	const { status, output } = run(cwd, command, ...args);
	assert.notEqual(status, 0, `${command} ${args.join(" ")} succeeded`);
	assert.match(output, message, `${command} ${args.join(" ")}`);
}

/** The output of getfacl for an ACL as `acl` in xattrs.ts builds it. */
const listed = (uid: number, gid: number): string[] => [
	"user::rw-",
	`user:${uid}:r--`,
	"group::---",
	`group:${gid}:r--`,
	"mask::r--",
	"other::---",
];

const getfacl = (folder: string, path: string): string[] =>
	succeed(folder, "getfacl", "--numeric", "--omit-header", path).trim().split("\n");

const getcap = (folder: string, path: string): string => succeed(folder, "getcap", "-n", path).trim();

const shownCap = (path: string, root: number): string =>
	`${path} ${NAME}=ep${root === 0 ? "" : ` [rootid=${root}]`}`;

/** On files that exist beforehand. */
export function readWithTools(folder: string, shape: Shape, { withoutAcl, withoutXattrs }: Traits): void {
	const { mapped } = samples(shape.mapping, "disk");
	const disk = mapped.at(-1) as oracle.Ids;
	if (withoutAcl === undefined) {
		const path = aclNamed(disk.uid, disk.gid);
		const { uid, gid } = oracle.shown(shape.mapping, disk);
		assert.deepEqual(getfacl(folder, `seen/${path}`), listed(uid, gid), "getfacl through the mount");
		assert.deepEqual(getfacl(folder, `disk/${path}`), listed(disk.uid, disk.gid), "getfacl on disk");
	}
	const root = namespaceRoot(shape);
	const path = capabilitiesNamed(root.disk);
	const listedCap = withoutXattrs === undefined ? shownCap : () => "";
	assert.equal(getcap(folder, `seen/${path}`), listedCap(`seen/${path}`, root.visible));
	assert.equal(getcap(folder, `disk/${path}`), listedCap(`disk/${path}`, root.disk));
}

export function refuseTools(folder: string, shape: Shape, withAcl: boolean): void {
	const file = `seen/${named("files", samples(shape.mapping, "disk").mapped[0] as oracle.Ids)}`;
	const message = /Read-only file system/;
	if (withAcl) fail(message, folder, "setfacl", "-m", "u:0:r", file);
	fail(message, folder, "setcap", `${NAME}=ep`, file);
}

/** `path` is a file whose owner is mapped, without attributes. */
export function writeWithTools(folder: string, shape: Shape, path: string, withAcl: boolean): void {
	const [disk, seen] = [`disk/${path}`, `seen/${path}`];
	const visible = samples(shape.mapping, "visible");
	if (withAcl) {
		const { uid, gid } = visible.mapped.at(-1) as oracle.Ids;
		const onDisk = oracle.ownerOnDisk(shape.mapping, { uid, gid }) as oracle.Ids;
		succeed(folder, "setfacl", "-m", `u::rw,u:${uid}:r,g::-,g:${gid}:r,o::-`, seen);
		assert.deepEqual(getfacl(folder, disk), listed(onDisk.uid, onDisk.gid), "getfacl on disk");
		assert.deepEqual(getfacl(folder, seen), listed(uid, gid), "getfacl through the mount");
		const out = visible.unmapped[0] as oracle.Ids;
		fail(/Invalid argument/, folder, "setfacl", "-m", `u:${out.uid}:r,g:${out.gid}:r`, seen);
	}
	const root = namespaceRoot(shape);
	succeed(folder, "setcap", ...(root.visible === 0 ? [] : ["-n", `${root.visible}`]), `${NAME}=ep`, seen);
	assert.equal(getcap(folder, disk), shownCap(disk, root.disk));
	assert.equal(getcap(folder, seen), shownCap(seen, root.visible));
}
