import { olderThan } from "../support/needs.ts";
import * as oracle from "./oracle.ts";
import { type Expectation, type Plan, ROOT, STRANGER } from "./plan.ts";
import { each, type Shape, samples, some } from "./shapes.ts";

// Operations that create files and names: their owners on disk, and the callers that are refused.

const KINDS: readonly { operation: string; make: (folder: string, name: string) => (string | number)[] }[] = [
	{ operation: "create", make: (folder, name) => ["create", `${folder}/${name}`, 0o644] },
	{ operation: "mkdir", make: (folder, name) => ["mkdir", `${folder}/${name}`, 0o755] },
	{ operation: "mkfifo", make: (folder, name) => ["mkfifo", `${folder}/${name}`, 0o644] },
	{ operation: "symlink", make: (folder, name) => ["symlink", `${folder}/${name}`] },
	{ operation: "O_TMPFILE", make: (folder, name) => ["tmpfile", folder, 0o644, `${folder}/${name}`] },
];

/**
 * For a file without a name, Linux 6.1 checks the directory before the caller, and 6.12 the caller first (measured; the versions in
 * between were not).
 */
const DIRECTORY_FIRST = olderThan("6.12") !== undefined;

/** A directory on disk with that owner, which every user may write to. */
export function directory(plan: Plan, path: string, { uid, gid }: oracle.Ids, mode = 0o777): void {
	plan.prepare(["mkdir", path, 0o777], ["chown", path, uid, gid], ["chmod", path, mode]);
}

/** A file on disk with that owner. */
export function file(plan: Plan, path: string, { uid, gid }: oracle.Ids, mode = 0o666): void {
	plan.prepare(["create", path, mode], ["chown", path, uid, gid], ["chmod", path, mode]);
}

/** What stat(2) must show on both sides for `path`, if the oracle returned this. */
function look(plan: Plan, shape: Shape, path: string, made: oracle.Verdict | oracle.Ids): void {
	const absent = typeof made === "string";
	plan.expect(ROOT, ["stat", `disk/${path}`], absent ? "ENOENT" : { ...made });
	plan.expect(ROOT, ["stat", `seen/${path}`], absent ? "ENOENT" : { ...oracle.shown(shape.mapping, made) });
}

const answer = (made: oracle.Verdict | oracle.Ids): Expectation => (typeof made === "string" ? made : "OK");

/** One caller creates one of each kind in one directory. */
function makeEach(
	plan: Plan,
	shape: Shape,
	folder: string,
	actor: oracle.Actor,
	parent: oracle.Directory,
	prefix: string,
): void {
	for (const [i, { operation, make }] of KINDS.entries()) {
		const name = `${prefix}${i}`;
		const refused = operation === "O_TMPFILE" && !oracle.isMapped(shape.mapping, parent.disk);
		const made = refused && DIRECTORY_FIRST ? "EACCES" : oracle.creation(shape.mapping, actor, parent);
		plan.operation(parent.setgid ? `${operation} in a setgid directory` : operation);
		plan.expect(actor, make(`seen/${folder}`, name), answer(made));
		look(plan, shape, `${folder}/${name}`, made);
	}
}

function callers(shape: Shape, pick: typeof some): { mapped: oracle.Actor[]; unmapped: oracle.Actor[] } {
	const { mapped, unmapped } = samples(shape.mapping, "visible");
	return {
		mapped: pick(mapped, 3).flatMap((ids) => [ids, { ...ids, capable: true }]),
		unmapped: [...pick(unmapped, 6), { uid: 0, gid: 0 }].flatMap((ids) => [ids, { ...ids, capable: true }]),
	};
}

function making(plan: Plan, shape: Shape, base: string): void {
	const disk = samples(shape.mapping, "disk");
	const own = disk.mapped[0] as oracle.Ids;
	const { mapped, unmapped } = callers(shape, each);
	directory(plan.operation("preparing"), `disk/${base}/make`, own);
	for (const [i, actor] of [...mapped, ...unmapped].entries()) {
		makeEach(plan, shape, `${base}/make`, actor, { disk: own }, `${i}-`);
	}
	// Nothing can be created in a directory whose owner has no visible ID.
	for (const [i, parent] of some(disk.unmapped, 3).entries()) {
		const folder = `${base}/unmapped${i}`;
		directory(plan.operation("preparing"), `disk/${folder}`, parent);
		for (const actor of [mapped[0], mapped[1], unmapped[0]] as oracle.Actor[]) {
			makeEach(plan, shape, folder, actor, { disk: parent }, actor.capable ? "c" : "n");
		}
	}
}

/** Files and directories get the directory's group, and S_ISGID stays for members of the visible group only. */
function setgidDirectory(plan: Plan, shape: Shape, base: string): void {
	const { mapped } = samples(shape.mapping, "visible");
	for (const [i, parent] of some(samples(shape.mapping, "disk").mapped, 3).entries()) {
		const folder = `${base}/setgid${i}`;
		directory(plan.operation("preparing"), `disk/${folder}`, parent, 0o2777);
		const caller = mapped[(i + 1) % mapped.length] as oracle.Ids;
		const visible = oracle.shown(shape.mapping, parent).gid;
		const actors: oracle.Actor[] = [
			caller,
			{ ...caller, gid: visible },
			{ ...caller, groups: [visible] },
			{ ...caller, groups: [parent.gid] },
			{ ...caller, capable: true },
			{ ...caller, uid: STRANGER.uid },
			{ ...caller, gid: STRANGER.gid },
		];
		for (const [j, actor] of actors.entries()) {
			makeEach(plan, shape, folder, actor, { disk: parent, setgid: true }, `${j}-`);
			plan.operation("create a setgid file in a setgid directory");
			const made = oracle.creation(shape.mapping, actor, { disk: parent, setgid: true });
			plan.expect(actor, ["create", `seen/${folder}/file${j}`, 0o2775], answer(made));
			if (typeof made === "string") continue;
			const mode = oracle.keepsSetgid(shape.mapping, actor, parent) ? 0o2775 : 0o775;
			plan.expect(ROOT, ["stat", `disk/${folder}/file${j}`], { ...made, mode });
			plan.operation("mkdir in a setgid directory");
			plan.expect(ROOT, ["stat", `disk/${folder}/${j}-1`], { ...made, mode: 0o2755 });
		}
	}
}

function linking(plan: Plan, shape: Shape, base: string): void {
	const { mapped, unmapped } = callers(shape, some);
	const disk = samples(shape.mapping, "disk");
	const own = disk.mapped[0] as oracle.Ids;
	const folder = `${base}/link`;
	directory(plan.operation("preparing"), `disk/${folder}`, own);
	const files = [...some(disk.mapped, 2), ...some(disk.unmapped, 3)];
	const actors = [...mapped, ...unmapped].filter(({ capable }) => capable);
	for (const [i, of] of files.entries()) {
		const source = `${folder}/file${i}`;
		file(plan.operation("preparing"), `disk/${source}`, of);
		let nlink = 1;
		for (const [j, actor] of actors.entries()) {
			const verdict = oracle.linking(shape.mapping, actor, of);
			plan.operation("hard link");
			plan.expect(actor, ["link", `seen/${source}`, `seen/${folder}/${i}-${j}`], verdict);
			look(plan, shape, `${folder}/${i}-${j}`, verdict === "OK" ? of : verdict);
			if (verdict === "OK") nlink++;
			plan.expect(ROOT, ["stat", `disk/${source}`], { ...of, nlink });
		}
	}
	// link(2) from one mount to another is refused, although both show one file system.
	const actor = mapped[1] as oracle.Actor;
	plan.expect(actor, ["link", `disk/${folder}/file0`, `seen/${folder}/other`], "EXDEV");
	plan.expect(actor, ["link", `seen/${folder}/file0`, `disk/${folder}/other`], "EXDEV");
}

function renaming(plan: Plan, shape: Shape, base: string): void {
	const { mapped, unmapped } = callers(shape, some);
	const disk = samples(shape.mapping, "disk");
	const own = disk.mapped[0] as oracle.Ids;
	const folder = `${base}/rename`;
	directory(plan.operation("preparing"), `disk/${folder}`, own);
	const files = [...some(disk.mapped, 2), ...some(disk.unmapped, 3)];
	let count = 0;
	for (const of of files) {
		for (const actor of [...mapped, ...unmapped]) {
			for (const over of [undefined, own, disk.unmapped[0] as oracle.Ids]) {
				const [from, to] = [`${folder}/${count++}`, `${folder}/${count++}`];
				plan.operation("preparing");
				file(plan, `disk/${from}`, of);
				if (over !== undefined) file(plan, `disk/${to}`, over);
				const verdict = oracle.renaming(shape.mapping, actor, of, over);
				plan.operation(over === undefined ? "rename" : "rename over a file");
				plan.expect(actor, ["rename", `seen/${from}`, `seen/${to}`], verdict);
				look(plan, shape, to, verdict === "OK" ? of : (over ?? verdict));
				look(plan, shape, from, verdict === "OK" ? verdict : of);
			}
		}
	}
	file(plan.operation("preparing"), `disk/${folder}/file`, own);
	plan.operation("rename");
	plan.expect(mapped[0] as oracle.Actor, ["rename", `disk/${folder}/file`, `seen/${folder}/other`], "EXDEV");
}

export function planMaking(plan: Plan, shape: Shape, base: string): void {
	making(plan, shape, base);
	setgidDirectory(plan, shape, base);
	linking(plan, shape, base);
	renaming(plan, shape, base);
}
