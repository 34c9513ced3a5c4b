import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type Ids, toVisible } from "./oracle.ts";
import { Plan, type Programs, STRANGER } from "./plan.ts";
import { each, edges, type Shape, samples, shapes } from "./shapes.ts";
import { ACL, acl, CAPABILITY, capabilitiesOf } from "./xattrs.ts";

// The files that exist beforehand on every file system, read-only ones included: files of many owners. Their names give
// the IDs on disk.

export const FILE_MODE = 0o640;

export const named = (folder: string, { uid, gid }: Ids): string => `${folder}/${uid}.${gid}`;
export const aclNamed = (user: number, group: number): string => `acls/${user}.${group}`;
export const capabilitiesNamed = (root: number): string => `capabilities/${root}`;

/** The owners to try with a shape: inside it and outside. */
export function owners({ mapping }: Shape, count: number): Ids[] {
	const { mapped, unmapped } = samples(mapping, "disk");
	return [...each(mapped, count), ...each(unmapped, count)];
}

/** The roots of file capabilities to try with a shape, as they are on disk. */
export function rootids({ mapping }: Shape): number[] {
	const { inside, outside } = edges(mapping, "uid", "disk");
	const seenAsRoot = mapping.uidToContainer(0);
	return [
		...new Set([
			0,
			...(seenAsRoot === undefined ? [] : [seenAsRoot]),
			...each(inside, 3),
			...each(outside, 2),
		]),
	];
}

/** The first of them that a shape shows, and if possible not as the initial namespace's root. */
export function namespaceRoot(shape: Shape): { disk: number; visible: number } {
	const shown = rootids(shape).flatMap((disk) => {
		const visible = toVisible(shape.mapping, "uid", disk);
		return visible === undefined ? [] : [{ disk, visible }];
	});
	const found = shown.find(({ visible }) => visible !== 0) ?? shown[0];
	if (found === undefined) throw new Error(`${shape.name} maps nothing`);
	return found;
}

const unique = <T>(lists: T[][], key: (item: T) => string) => [
	...new Map(lists.flat().map((item) => [key(item), item])).values(),
];

export function makeTree(folder: string, programs: Programs, withAcl: boolean): void {
	const plan = new Plan().operation("preparing");
	const parts = ["files", "links", "programs", "acls", "capabilities"];
	for (const part of parts) mkdirSync(join(folder, part));
	const ownersOf = (count: number) =>
		unique(
			shapes.map((shape) => owners(shape, count)),
			(ids) => named("", ids),
		);
	for (const ids of ownersOf(Number.POSITIVE_INFINITY)) {
		const path = named("files", ids);
		plan.prepare(["create", path, FILE_MODE], ["chown", path, ids.uid, ids.gid]);
	}
	for (const ids of ownersOf(6)) {
		const link = named("links", ids);
		plan.prepare(["symlink", link], ["chown", link, ids.uid, ids.gid]);
		const program = named("programs", ids);
		copyFileSync(programs.showIds, join(folder, program));
		plan.prepare(["chown", program, ids.uid, ids.gid], ["chmod", program, 0o6755]);
		if (!withAcl) continue;
		const list = aclNamed(ids.uid, ids.gid);
		plan.prepare(["create", list, FILE_MODE], ["chown", list, STRANGER.uid, STRANGER.gid]);
		plan.prepare(["setxattr", list, ACL, acl(ids.uid, ids.gid)]);
	}
	for (const rootid of unique(shapes.map(rootids), String)) {
		const path = capabilitiesNamed(rootid);
		copyFileSync(programs.showIds, join(folder, path));
		plan.prepare(["chmod", path, 0o755], ["setxattr", path, CAPABILITY, capabilitiesOf(rootid)]);
	}
	const wrong = plan.run(programs, folder);
	if (wrong.length > 0) throw new Error(wrong.map(({ text }) => text).join("\n"));
}
