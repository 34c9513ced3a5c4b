import { directory, file } from "./making.ts";
import * as oracle from "./oracle.ts";
import { type Plan, ROOT, STRANGER } from "./plan.ts";
import { each, edges, type Shape, samples, some } from "./shapes.ts";
import { ACL, ACL_MODE, acl, CAPABILITY, capabilities, capabilitiesOf, DEFAULT_ACL } from "./xattrs.ts";

// Operations that change existing files: owners, modes, attributes, removed names.

/** Owners of both kinds, the mapped ones first. */
function targets(shape: Shape): oracle.Ids[] {
	const { mapped, unmapped } = samples(shape.mapping, "disk");
	return [...some(mapped, 2), ...some(unmapped, 3)];
}

/** Callers who own the file by its visible ID, callers who only have the ID on disk, and others. */
function changers({ mapping }: Shape, disk: oracle.Ids, to: oracle.Ids): oracle.Actor[] {
	const { uid, gid } = oracle.shown(mapping, disk);
	return [
		{ ...ROOT },
		{ ...STRANGER },
		{ uid, gid },
		{ uid, gid: STRANGER.gid, groups: [to.gid] },
		{ ...STRANGER, uid: disk.uid, groups: [to.gid] },
	];
}

function chown(plan: Plan, shape: Shape, base: string): void {
	const { mapping } = shape;
	const folder = `${base}/chown`;
	directory(plan.operation("preparing"), `disk/${folder}`, ROOT);
	const visible = samples(mapping, "visible");
	let count = 0;
	for (const disk of targets(shape)) {
		for (const to of [...some(visible.mapped, 3), ...some(visible.unmapped, 3)]) {
			for (const change of [
				{ uid: to.uid },
				{ gid: to.gid },
				to,
				{ ...oracle.shown(mapping, disk), gid: to.gid },
			]) {
				for (const actor of changers(shape, disk, to)) {
					const path = `${folder}/${count++}`;
					file(plan.operation("preparing"), `disk/${path}`, disk);
					const made = oracle.ownerChange(mapping, actor, disk, change);
					plan.operation("chown");
					const { uid = "-", gid = "-" } = change as Partial<oracle.Ids>;
					plan.expect(actor, ["chown", `seen/${path}`, uid, gid], typeof made === "string" ? made : "OK");
					plan.expect(ROOT, ["stat", `disk/${path}`], typeof made === "string" ? { ...disk } : { ...made });
				}
			}
		}
	}
}

/** A symbolic link has its own owner, which lchown(2) changes. */
function chownLinks(plan: Plan, shape: Shape, base: string): void {
	const to = samples(shape.mapping, "visible").mapped.at(-1) as oracle.Ids;
	for (const [i, disk] of targets(shape).entries()) {
		const path = `${base}/link${i}`;
		plan
			.operation("preparing")
			.prepare(["symlink", `disk/${path}`], ["chown", `disk/${path}`, disk.uid, disk.gid]);
		const made = oracle.ownerChange(shape.mapping, ROOT, disk, to);
		const done = typeof made !== "string";
		plan.operation("symlink owner");
		plan.expect(ROOT, ["chown", `seen/${path}`, to.uid, to.gid], done ? "OK" : made);
		plan.expect(ROOT, ["stat", `disk/${path}`], { ...(done ? made : disk) });
		plan.expect(ROOT, ["stat", `seen/${path}`], { ...oracle.shown(shape.mapping, done ? made : disk) });
	}
}

function inode(plan: Plan, shape: Shape, base: string): void {
	const { mapping } = shape;
	const folder = `${base}/inode`;
	directory(plan.operation("preparing"), `disk/${folder}`, ROOT);
	let count = 0;
	for (const disk of targets(shape)) {
		const { uid, gid } = oracle.shown(mapping, disk);
		// S_ISGID stays for an owner in the file's visible group. The ID on disk makes no caller a member.
		const owners = [
			{ ...STRANGER, uid },
			{ uid, gid: disk.gid },
		];
		for (const actor of [...changers(shape, disk, { uid, gid }), ...owners]) {
			const path = `${folder}/${count++}`;
			file(plan.operation("preparing"), `disk/${path}`, disk);
			// If every user may write to a file, its mode refuses nothing: only the map can.
			const open = (how: "read" | "write") => oracle.opening(mapping, actor, disk, 0o666, how);
			plan.operation("open to read").expect(actor, ["read", `seen/${path}`], open("read"));
			plan.operation("open to write").expect(actor, ["write", `seen/${path}`], open("write"));
			plan.expect(actor, ["truncate", `seen/${path}`], open("write"));
			const verdict = oracle.inodeChange(mapping, actor, disk);
			plan.operation("utimes").expect(actor, ["utimes", `seen/${path}`], verdict);
			plan.operation("chmod").expect(actor, ["chmod", `seen/${path}`, 0o2775], verdict);
			const changed = oracle.keepsSetgid(mapping, actor, disk) ? 0o2775 : 0o775;
			plan.expect(ROOT, ["stat", `disk/${path}`], { ...disk, mode: verdict === "OK" ? changed : 0o666 });
		}
	}
}

/** In a sticky directory only the visible owners of the file and of the directory remove names. */
function unlink(plan: Plan, shape: Shape, base: string): void {
	const { mapping } = shape;
	const own = samples(mapping, "disk").mapped.at(-1) as oracle.Ids;
	for (const sticky of [false, true]) {
		const folder = `${base}/unlink${sticky ? "-sticky" : ""}`;
		directory(plan.operation("preparing"), `disk/${folder}`, own, sticky ? 0o1777 : 0o777);
		let count = 0;
		for (const disk of targets(shape)) {
			const parent = { ...STRANGER, uid: oracle.shown(mapping, own).uid };
			for (const actor of [...changers(shape, disk, own), parent]) {
				const path = `${folder}/${count++}`;
				file(plan.operation("preparing"), `disk/${path}`, disk);
				const verdict = oracle.removal(mapping, actor, disk, sticky ? own : undefined);
				plan.operation(sticky ? "unlink in a sticky directory" : "unlink");
				plan.expect(actor, ["unlink", `seen/${path}`], verdict);
				plan.expect(ROOT, ["stat", `disk/${path}`], verdict === "OK" ? "ENOENT" : { ...disk });
			}
		}
	}
}

function writeAcl(plan: Plan, shape: Shape, base: string): void {
	const { mapping } = shape;
	const visible = samples(mapping, "visible");
	const own = samples(mapping, "disk").mapped[0] as oracle.Ids;
	const maker = oracle.shown(mapping, own);
	for (const [i, { uid, gid }] of [...each(visible.mapped, 4), ...each(visible.unmapped, 6)].entries()) {
		const [path, folder] = [`${base}/acl${i}`, `${base}/default-acl${i}`];
		file(plan.operation("preparing"), `disk/${path}`, own, 0o600);
		directory(plan, `disk/${folder}`, own);
		const user = oracle.aclEntryOnDisk(mapping, "uid", uid);
		const group = oracle.aclEntryOnDisk(mapping, "gid", gid);
		const [value, written] = [
			acl(uid, gid),
			user === "EINVAL" || group === "EINVAL" ? undefined : acl(user, group),
		];
		plan.operation("write a POSIX ACL");
		plan.expect(maker, ["setxattr", `seen/${path}`, ACL, value], written ? "OK" : "EINVAL");
		plan.expect(ROOT, ["getxattr", `disk/${path}`, ACL], written ? { value: written } : "ENODATA");
		plan.expect(ROOT, ["getxattr", `seen/${path}`, ACL], written ? { value } : "ENODATA");
		plan.expect(ROOT, ["stat", `disk/${path}`], { ...own, mode: written ? ACL_MODE : 0o600 });
		const reader = { ...STRANGER, uid };
		const without = oracle.opening(mapping, reader, own, 0o600, "read");
		plan.expect(reader, ["read", `seen/${path}`], written ? "OK" : without);
		plan.operation("inherit a default POSIX ACL");
		plan.expect(maker, ["setxattr", `seen/${folder}`, DEFAULT_ACL, value], written ? "OK" : "EINVAL");
		plan.expect(maker, ["mkdir", `seen/${folder}/below`, 0o777], "OK");
		plan.expect(maker, ["create", `seen/${folder}/file`, 0o666], "OK");
		const inherited = written ? { value: written } : "ENODATA";
		plan.expect(ROOT, ["getxattr", `disk/${folder}/below`, DEFAULT_ACL], inherited);
		plan.expect(ROOT, ["getxattr", `disk/${folder}/file`, ACL], inherited);
	}
	plan.operation("write a POSIX ACL");
	for (const [i, disk] of targets(shape).entries()) {
		const path = `${base}/acl-of-${i}`;
		file(plan, `disk/${path}`, disk);
		const verdict = oracle.attributeChange(mapping, disk);
		plan.expect(ROOT, ["setxattr", `seen/${path}`, ACL, acl(maker.uid, maker.gid)], verdict);
	}
}

function writeCapabilities(plan: Plan, shape: Shape, base: string): void {
	const { mapping } = shape;
	const { inside, outside } = edges(mapping, "uid", "visible");
	const own = samples(mapping, "disk").mapped[0] as oracle.Ids;
	plan.operation("write file capabilities");
	for (const [i, root] of [undefined, 0, ...each(inside, 4), ...each(outside, 3)].entries()) {
		const path = `${base}/capabilities${i}`;
		file(plan, `disk/${path}`, own);
		const disk = oracle.rootidOnDisk(mapping, root);
		const value = capabilities(root);
		plan.expect({ ...ROOT, capable: false }, ["setxattr", `seen/${path}`, CAPABILITY, value], "EPERM");
		plan.expect(ROOT, ["setxattr", `seen/${path}`, CAPABILITY, value], disk === "EINVAL" ? disk : "OK");
		const written = disk === "EINVAL" ? "ENODATA" : { value: capabilitiesOf(disk) };
		plan.expect(ROOT, ["getxattr", `disk/${path}`, CAPABILITY], written);
		const shown = disk === "EINVAL" ? "ENODATA" : { value: capabilitiesOf(root ?? 0) };
		plan.expect(ROOT, ["getxattr", `seen/${path}`, CAPABILITY], shown);
	}
	const root = inside[0] as number;
	for (const [i, disk] of targets(shape).entries()) {
		const path = `${base}/capabilities-of-${i}`;
		file(plan, `disk/${path}`, disk);
		const verdict = oracle.attributeChange(mapping, disk);
		plan.expect(ROOT, ["setxattr", `seen/${path}`, CAPABILITY, capabilities(root)], verdict);
	}
}

export function planChanging(plan: Plan, shape: Shape, base: string, withAcl: boolean): void {
	chown(plan, shape, base);
	chownLinks(plan, shape, base);
	inode(plan, shape, base);
	unlink(plan, shape, base);
	if (withAcl) writeAcl(plan, shape, base);
	writeCapabilities(plan, shape, base);
}
