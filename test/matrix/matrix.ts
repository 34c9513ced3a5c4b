import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { after } from "node:test";
import { Handles, mountIdmapped, UsernsError } from "../../src/index.ts";
import { root, sh } from "../support/child.ts";
import { mountAt } from "../support/mounts.ts";
import { isPromised, type Need, reasonToSkip } from "../support/needs.ts";
import { test } from "../support/test.ts";
import { planChanging } from "./changing.ts";
import type { FileSystem } from "./filesystems.ts";
import { file, planMaking } from "./making.ts";
import type { Ids } from "./oracle.ts";
import { compilePrograms, type Difference, Plan, type Programs, ROOT, STRANGER } from "./plan.ts";
import { planReading, type Traits } from "./reading.ts";
import { type Shape, samples, shapes } from "./shapes.ts";
import { readWithTools, refuseTools, writeWithTools } from "./tools.ts";
import { capabilitiesNamed, makeTree, namespaceRoot } from "./tree.ts";
import { CAPABILITY } from "./xattrs.ts";

// Operations through an ID-mapped mount: file systems × shapes of maps × operations.
//
// oracle.ts computes the result from the mapping alone. shapes.ts has the mappings, and chooses the IDs to try at their
// edges. tree.ts creates the files that exist beforehand. reading.ts, making.ts and changing.ts add operations and
// their results to a plan (plan.ts), which one process runs at once. The unmapped mount shows what is on disk. tools.ts
// does the same with common programs. teeth.test.ts shows that the matrix notices a wrong map.

const TOOLS = ["setfacl", "getfacl", "setcap", "getcap", "cc"] as const;
const NEEDS: readonly Need[] = ["linux", "root", "mounts", ...TOOLS.map((tool): Need => `tool:${tool}`)];

/** One file system, mounted for all tests of a file. */
export interface Fixture {
	/** A tmpfs with the mounts `disk` and, while a test runs, `seen`. */
	folder: string;
	programs: Programs;
	traits: Traits;
	close(): Promise<void>;
}

/**
 * The folder lies in the build folder: if the tests are killed, their mounts end with the mount namespace, and the next
 * build removes the empty directory that remains.
 */
async function open(fs: FileSystem): Promise<Fixture> {
	const folder = mkdtempSync(join(root, "dist", "matrix-"));
	sh("mount", "-t", "tmpfs", "-o", "mode=755", "userns-matrix", folder);
	let release: (() => Promise<void>) | undefined;
	const close = async () => {
		sh("umount", "-R", "-l", folder);
		await release?.();
		rmdirSync(folder);
	};
	try {
		for (const name of ["disk", "seen", "tree"]) mkdirSync(join(folder, name));
		const programs = compilePrograms(folder);
		const { withoutAcl, readonly = false } = fs;
		if (readonly) makeTree(join(folder, "tree"), programs, true);
		release = await fs.mount(folder);
		if (!readonly) makeTree(join(folder, "disk"), programs, withoutAcl === undefined);
		const withoutXattrs = fs.optionalXattrs && !hasXattrs(folder, programs) ? "EOPNOTSUPP" : undefined;
		const traits: Traits = { readonly, withoutAcl, withoutXattrs };
		return { folder, programs, traits, close };
	} catch (error) {
		await close();
		throw error;
	}
}

/** Asks the file system itself, without a map. An attribute with another value counts: the rows check the values. */
function hasXattrs(folder: string, programs: Programs): boolean {
	const plan = new Plan().operation("asking");
	plan.expect(ROOT, ["getxattr", `disk/${capabilitiesNamed(0)}`, CAPABILITY], "EOPNOTSUPP");
	return plan.run(programs, folder).length > 0;
}

export function needsOf(fs: FileSystem): Need[] {
	return [...NEEDS, ...fs.needs];
}

/** If a need is not met, the tests themselves are skipped or fail. */
function isThere(needs: readonly Need[]): boolean {
	try {
		return reasonToSkip(needs) === undefined;
	} catch {
		return false;
	}
}

/** Opens it for all tests of this file, and closes it after the last one. Returns undefined if a need is not met. */
export async function openFor(fs: FileSystem): Promise<Fixture | undefined> {
	if (!isThere(needsOf(fs))) return undefined;
	const fixture = await open(fs);
	after(() => fixture.close());
	return fixture;
}

/** Asks whether the kernel can ID-map it, by mapping it. */
async function isRefused(source: string): Promise<boolean> {
	try {
		(await mountIdmapped({ source, mapping: "0:100000:65536" })).close();
		return false;
	} catch (error) {
		if (error instanceof UsernsError && error.code === "ERR_USERNS_MOUNT" && error.errnoCode === "EINVAL")
			return true;
		throw error;
	}
}

/** Every operation through a mount of that shape, and its result. */
export function planRow(shape: Shape, base: string, traits: Traits): Plan {
	const plan = new Plan();
	planReading(plan, shape, traits);
	if (traits.readonly) return plan;
	plan.operation("preparing").prepare(["mkdir", `disk/${base}`, 0o755]);
	file(plan, `disk/${base}/tool`, samples(shape.mapping, "disk").mapped[0] as Ids, 0o600);
	planMaking(plan, shape, base);
	planChanging(plan, shape, base, traits.withoutAcl === undefined);
	return plan;
}

/** Mounts with that map, runs the plan and, if every result was as expected, the other checks. Then unmounts. */
export async function throughMount(
	{ folder, programs }: Fixture,
	mapping: Shape["mapping"],
	visibleRoot: number,
	plan: Plan,
	more: () => void = () => {},
): Promise<Difference[]> {
	const target = join(folder, "seen");
	const handles = new Handles();
	try {
		const inside = (id: number) => [
			{ containerID: 0, hostID: visibleRoot, size: 1 },
			{ containerID: 1, hostID: id, size: 1 },
		];
		const namespace = await handles.get({
			uidMappings: inside(STRANGER.uid),
			gidMappings: inside(STRANGER.gid),
		});
		const mount = await mountIdmapped({ source: join(folder, "disk"), target, mapping, handles });
		try {
			assert.ok(mountAt(target)?.options.includes("idmapped"));
			const differences = plan.run(programs, folder, namespace.fd);
			if (differences.length === 0) more();
			return differences;
		} finally {
			namespace.close();
			await mount.unmount();
		}
	} finally {
		handles.release();
	}
}

async function row(fixture: Fixture, shape: Shape, base: string): Promise<void> {
	const { folder, traits } = fixture;
	const withAcl = traits.withoutAcl === undefined;
	const plan = planRow(shape, base, traits);
	const differences = await throughMount(fixture, shape.mapping, namespaceRoot(shape).visible, plan, () => {
		readWithTools(folder, shape, traits);
		if (traits.readonly) refuseTools(folder, shape, withAcl);
		else writeWithTools(folder, shape, `${base}/tool`, withAcl);
	});
	report(differences, plan.length);
}

function report(differences: Difference[], of: number): void {
	if (differences.length === 0) return;
	const lines = differences.slice(0, 30).map(({ text }) => `  ${text}`);
	if (differences.length > lines.length) lines.push("  …");
	assert.fail(`${differences.length} of ${of} steps came out otherwise:\n${lines.join("\n")}`);
}

async function refusal(fs: FileSystem, { folder }: Fixture, { mapping }: Shape): Promise<void> {
	if (fs.refusal === undefined && isPromised(`fs:${fs.name}`)) {
		assert.fail(`${fs.name} was promised, but this kernel refuses to map it`);
	}
	const mounts = readFileSync("/proc/self/mountinfo", "utf8");
	for (const target of [{ target: join(folder, "seen") }, {}]) {
		await assert.rejects(mountIdmapped({ source: join(folder, "disk"), mapping, ...target }), (error) => {
			assert.ok(error instanceof UsernsError, String(error));
			assert.equal(error.code, "ERR_USERNS_MOUNT");
			assert.equal(error.errnoCode, "EINVAL");
			assert.ok(error.hint);
			return true;
		});
	}
	assert.equal(readFileSync("/proc/self/mountinfo", "utf8"), mounts, "something was attached");
}

/** All shapes on one file system, with one test for each. */
export async function matrix(fs: FileSystem): Promise<void> {
	const needs = needsOf(fs);
	const fixture = await openFor(fs);
	const refused = fixture !== undefined && (await isRefused(join(fixture.folder, "disk")));
	const reason = fs.refusal ?? "this kernel does not map it";
	const missing =
		fixture?.traits.withoutXattrs && " without its extended attributes, which this kernel does not have";
	for (const [i, shape] of shapes.entries()) {
		const name = `${fs.name}${missing ?? ""}, ${shape.name}`;
		if (refused) {
			test(`${name}: the kernel refuses the mount with EINVAL (${reason})`, { needs }, () =>
				refusal(fs, fixture, shape),
			);
		} else {
			const body = () => row(fixture as Fixture, shape, `row${i}`);
			test(
				`${name}: every operation has the result that the mapping gives`,
				{ needs, timeout: 600_000 },
				body,
			);
		}
	}
}
