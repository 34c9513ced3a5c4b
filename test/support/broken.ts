import assert from "node:assert/strict";
import { join } from "node:path";
import type { Diagnosis, DoctorJob } from "../../src/index.ts";
import { packageForAll, root } from "./child.ts";
import { askAs, freshUser, type UserSetup } from "./ordinary.ts";

/** A machine on which a job cannot be done, or only in part, and its one cause. */
export interface Machine extends UserSetup {
	job: DoctorJob;
	/** The cause; undefined for a machine on which nothing is wrong. */
	cause?: string;
	/** What the evidence must name. */
	evidence?: RegExp;
	/** The job works, but not all of it. */
	limited?: true;
	/** The job works although the cause is there, because no program in it needs what is lost. */
	works?: true;
	/** The job ends the process, or does not end itself, and is not done. */
	kills?: true;
	/** The source of the mount, which doctor is told. */
	source?: string;
	/** Whether the command of the cause is executed: by root before the program starts, or by the program. */
	fix?: "before" | "by the program";
	/** Root must not be told a command, because it would give privilege to a file of another user. */
	noCommand?: true;
	/** Statements at the start of the program. */
	first?: string;
}

/** /proc and the directories of programs below another root. */
export const JAIL: string =
	"mkdir -p /mnt/jail; for d in proc dev usr lib lib64 bin etc root work home opt tmp; do if [ -d /$d ]; then mkdir /mnt/jail/$d; mount --rbind /$d /mnt/jail/$d; fi; done; mkdir -p /mnt/jail/mnt/source";

/** Runs a program as root of a namespace that owns its mounts, or not. */
export function inside(...more: string[]): string[] {
	const command = join(packageForAll(), "dist/src/cli/userns.js");
	return [process.execPath, command, "exec", "--map", "0:0:70000", "--setgroups", "allow", ...more, "--"];
}

/** The same with a limit of its own. */
export function withLimit(most: number): string[] {
	return [...inside(), "sh", "-c", `echo ${most} > /proc/sys/user/max_user_namespaces; exec "$@"`, "sh"];
}

/** Compiles a program of test/support/programs as root, to /mnt/bin/NAME. */
export function compile(source: string, name: string = source): string {
	return `cc -O2 -o /mnt/bin/${name} ${join(root, `test/support/programs/${source}.c`)}`;
}

/** The numbers of the calls on this processor; from 424 on they are the same everywhere. */
const OF_X64 = { memfd_create: 319, execveat: 322, setns: 308, unshare: 272 };
const OF_ARM64 = { memfd_create: 279, execveat: 281, setns: 268, unshare: 97 };
const NUMBERS: Record<string, number> = {
	...{ open_tree: 428, move_mount: 429, mount_setattr: 442 },
	...(process.arch === "x64" ? OF_X64 : OF_ARM64),
};
/** The answer of a filter that ends the process. */
export const KILL = 4096;
/** That of a filter whose supervisor does not answer. */
export const WAIT = 4097;

/** The calls in order: "setns=1" is EPERM, as it is without a number. */
export function filter(...calls: string[]): Pick<Machine, "before" | "through"> {
	const rules = calls.map((each) => {
		const [call = "", answer = "1"] = each.split("=");
		return `${NUMBERS[call]}=${answer}`;
	});
	return { before: compile("deny"), through: ["/mnt/bin/deny", rules.join(",")] };
}

const OWN = '"u:0:" + process.geteuid() + ":1,g:0:" + process.getegid() + ":1"';
const run = (mapping: string): string => `
	const ns = await userns.UserNamespace.create(${mapping});
	const [status] = await once(ns.spawn("/bin/true", { stdio: "ignore" }), "close");
	ns.close();
	if (status !== 0) throw new Error("status " + status);`;

/** The jobs themselves, which the answers of doctor are compared with. */
const JOBS: Readonly<Record<DoctorJob, string>> = {
	spawn: run(OWN),
	rootless: run('process.geteuid() === 0 ? "0:1:2" : userns.Mapping.rootless()'),
	mount: `const mount = await userns.mountIdmapped({ source: SOURCE, target: "/mnt/target", mapping: "0:100000:10" });
	await mount.unmount();`,
};

interface Answer {
	diagnosis: Diagnosis;
	/** The error of the job, or nothing. */
	failure: string;
	/** The same after the command was executed by the program. */
	fixed?: Answer;
}

function ask(machine: Machine, before = machine.before ?? ""): Answer {
	const options = { for: machine.job, ...(machine.source !== undefined && { path: machine.source }) };
	const body = `import { once } from "node:events";
		import { execSync } from "node:child_process";
		const SOURCE = ${JSON.stringify(machine.source ?? "/mnt/source")};
		const job = async () => {${JOBS[machine.job]}};
		const answer = async () => ({
			diagnosis: await userns.doctor(${JSON.stringify(options)}),
			failure: ${machine.kills === true} ? "killed" : await job().then(() => "", (error) => error.message),
		});
		${machine.first ?? ""}
		const first = await answer();
		if (${machine.fix === "by the program"}) {
			execSync(first.diagnosis.causes[0].command);
			first.fixed = await answer();
		}
		console.log(JSON.stringify(first));`;
	const folders = "mkdir -p /mnt/source /mnt/target";
	return askAs<Answer>(freshUser({ ...machine, before: `${folders}\n${before}` }), body);
}

function assertWorks({ diagnosis, failure }: Answer, what: string): void {
	assert.equal(failure, "", what);
	assert.deepEqual(diagnosis.causes, [], what);
	assert.equal(diagnosis.ok, true, what);
	assert.deepEqual(
		diagnosis.checks.filter(({ state }) => state !== "ok"),
		[],
		what,
	);
}

/** Asserts that the machine is diagnosed as its cause and nothing else, as the job itself shows, and that the fix works. */
export function diagnose(machine: Machine): void {
	const answer = ask(machine);
	if (machine.cause === undefined) {
		assertWorks(answer, "a healthy machine");
		return;
	}
	const { diagnosis, failure } = answer;
	const found = diagnosis.checks.flatMap(({ causes }) => causes);
	const shown = JSON.stringify({ diagnosis, failure }, null, 1);
	assert.deepEqual([...new Set(found.map(({ id }) => id))], [machine.cause], shown);
	assert.equal(diagnosis.ok, machine.limited === true, shown);
	assert.equal(failure === "", (machine.limited ?? machine.works) === true, shown);
	const missing = diagnosis.checks.filter(({ state }) => state === "missing");
	assert.deepEqual(
		diagnosis.causes,
		missing.flatMap(({ causes }) => causes),
	);
	assert.match(found[0]?.evidence ?? "", machine.evidence ?? /./);
	if (answer.fixed !== undefined) assertWorks(answer.fixed, shown);
	if (machine.noCommand) assert.equal(found[0]?.command, undefined);
	if (machine.fix !== "before") return;
	const { command } = found[0] ?? {};
	assert.ok(command !== undefined, shown);
	assertWorks(ask(machine, `${machine.before ?? ""}\n${command}`), `after: ${command}`);
}
