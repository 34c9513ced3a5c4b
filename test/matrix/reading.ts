import * as oracle from "./oracle.ts";
import { type Expectation, NAMESPACE_FD, type Plan, ROOT, STRANGER } from "./plan.ts";
import { type Shape, samples, some } from "./shapes.ts";
import { aclNamed, capabilitiesNamed, FILE_MODE, named, namespaceRoot, owners, rootids } from "./tree.ts";
import { ACL, acl, CAPABILITIES, CAPABILITY, capabilitiesOf } from "./xattrs.ts";

// Operations that work on any file system: none of them changes a file.

export interface Traits {
	readonly: boolean;
	/** The errno of reading a POSIX ACL where there are none; undefined where there are. */
	withoutAcl: oracle.Verdict | undefined;
	/** The errno of reading an extended attribute, if this kernel was built without those of the file system. */
	withoutXattrs: oracle.Verdict | undefined;
}

/** Callers that own a file with these IDs on disk by the visible ID, by the ID on disk only, or not at all. */
function callers({ mapping }: Shape, disk: oracle.Ids): oracle.Actor[] {
	const { uid, gid } = oracle.shown(mapping, disk);
	return [
		{ ...STRANGER },
		{ ...STRANGER, capable: true },
		{ ...STRANGER, uid },
		{ ...STRANGER, gid },
		{ ...STRANGER, groups: [gid] },
		{ ...STRANGER, uid: disk.uid },
		{ ...STRANGER, gid: disk.gid },
	];
}

function stat(plan: Plan, shape: Shape): void {
	const { mapped, unmapped } = samples(shape.mapping, "disk");
	plan.operation("stat");
	for (const disk of [...mapped, ...unmapped]) {
		const path = named("files", disk);
		plan.expect(ROOT, ["stat", `seen/${path}`], { ...oracle.shown(shape.mapping, disk), mode: FILE_MODE });
		plan.expect(ROOT, ["stat", `disk/${path}`], { ...disk, mode: FILE_MODE });
	}
}

function symlinks(plan: Plan, shape: Shape): void {
	plan.operation("symlink owner");
	for (const disk of owners(shape, 6)) {
		const path = named("links", disk);
		plan.expect(ROOT, ["stat", `seen/${path}`], { ...oracle.shown(shape.mapping, disk) });
		plan.expect(STRANGER, ["readlink", `seen/${path}`], { value: "target" });
	}
}

function opening(plan: Plan, shape: Shape, { readonly }: Traits): void {
	for (const disk of owners(shape, 3)) {
		const path = `seen/${named("files", disk)}`;
		for (const actor of callers(shape, disk)) {
			plan.operation("open to read");
			plan.expect(actor, ["read", path], oracle.opening(shape.mapping, actor, disk, FILE_MODE, "read"));
			plan.operation("open to write");
			const write = oracle.opening(shape.mapping, actor, disk, FILE_MODE, "write");
			plan.expect(actor, ["write", path], readonly ? "EROFS" : write);
			plan.expect(actor, ["truncate", path], readonly ? "EROFS" : write);
		}
	}
}

function readAcl(plan: Plan, shape: Shape, { withoutAcl }: Traits): void {
	const { mapping } = shape;
	plan.operation("read a POSIX ACL");
	for (const { uid, gid } of owners(shape, 6)) {
		if (withoutAcl !== undefined) {
			plan.expect(ROOT, ["getxattr", `seen/${named("files", { uid, gid })}`, ACL], withoutAcl);
			continue;
		}
		const path = `seen/${aclNamed(uid, gid)}`;
		const [user, group] = [
			oracle.aclEntryShown(mapping, "uid", uid),
			oracle.aclEntryShown(mapping, "gid", gid),
		];
		plan.expect(ROOT, ["getxattr", path, ACL], { value: acl(user, group) });
		// The owner of the file is none of the callers, so that only these entries permit anything.
		for (const actor of callers(shape, { uid, gid })) {
			if (actor.capable) continue;
			const letIn = oracle.isOwner(mapping, actor, uid) || oracle.isMember(mapping, actor, gid);
			plan.expect(actor, ["read", path], letIn ? "OK" : "EACCES");
		}
	}
}

function fileCapabilities(plan: Plan, shape: Shape, { withoutXattrs }: Traits): void {
	const { mapping } = shape;
	const root = namespaceRoot(shape).visible;
	plan.operation("file capabilities");
	for (const disk of rootids(shape)) {
		const path = `seen/${capabilitiesNamed(disk)}`;
		const shown = oracle.rootidShown(mapping, disk);
		const value: Expectation = typeof shown === "string" ? shown : { value: capabilitiesOf(shown) };
		plan.expect(ROOT, ["getxattr", path, CAPABILITY], withoutXattrs ?? value);
		const found = (count: boolean) => ({
			capabilities: count && withoutXattrs === undefined ? CAPABILITIES : 0,
		});
		plan.expect(STRANGER, ["exec", path], found(oracle.capabilitiesCount(mapping, disk)));
		const inside = { uid: 1, gid: 1 };
		plan.expect(inside, ["exec", path, NAMESPACE_FD], found(oracle.capabilitiesCount(mapping, disk, root)));
		// Without the map, the ID on disk counts.
		const unmapped = `disk/${capabilitiesNamed(disk)}`;
		plan.expect(STRANGER, ["exec", unmapped], found(disk === 0));
		plan.expect(inside, ["exec", unmapped, NAMESPACE_FD], found(disk === 0 || disk === root));
	}
}

function setUid(plan: Plan, shape: Shape): void {
	plan.operation("set-user-ID bit");
	for (const disk of owners(shape, 6)) {
		const path = named("programs", disk);
		plan.expect(STRANGER, ["exec", `seen/${path}`], {
			...STRANGER,
			...oracle.execution(shape.mapping, STRANGER, disk),
		});
		plan.expect(STRANGER, ["exec", `disk/${path}`], { ...STRANGER, euid: disk.uid, egid: disk.gid });
	}
}

/** Every change, by callers whom any other file system would permit it. */
function refusals(plan: Plan, shape: Shape): void {
	const { mapped, unmapped } = samples(shape.mapping, "visible");
	const disk = samples(shape.mapping, "disk").mapped[0] as oracle.Ids;
	const file = `seen/${named("files", disk)}`;
	const shown = oracle.shown(shape.mapping, disk);
	const changes: [string, (string | number)[]][] = [
		["create", ["create", "seen/new", 0o644]],
		["mkdir", ["mkdir", "seen/new", 0o755]],
		["mkfifo", ["mkfifo", "seen/new", 0o644]],
		["symlink", ["symlink", "seen/new"]],
		["O_TMPFILE", ["tmpfile", "seen/files", 0o644]],
		["hard link", ["link", file, "seen/new"]],
		["rename", ["rename", file, "seen/new"]],
		["unlink", ["unlink", file]],
		["chmod", ["chmod", file, 0o600]],
		["utimes", ["utimes", file]],
		["chown", ["chown", file, shown.uid, shown.gid]],
		["write a POSIX ACL", ["setxattr", file, ACL, acl(shown.uid, shown.gid)]],
		["write file capabilities", ["setxattr", file, CAPABILITY, capabilitiesOf(shown.uid)]],
	];
	for (const ids of [...some(mapped, 2), ...some(unmapped, 3)]) {
		for (const [name, line] of changes) {
			plan.operation(name).expect({ ...ids, capable: true }, line, "EROFS");
		}
	}
}

export function planReading(plan: Plan, shape: Shape, traits: Traits): void {
	stat(plan, shape);
	symlinks(plan, shape);
	opening(plan, shape, traits);
	readAcl(plan, shape, traits);
	fileCapabilities(plan, shape, traits);
	setUid(plan, shape);
	if (traits.readonly) refusals(plan, shape);
}
