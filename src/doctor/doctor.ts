import { type FoundCause, invalidArgument, show, UsernsError } from "../errors.ts";
import type { Refusal } from "../inspect/cause.ts";
import { findCauses } from "../inspect/causes.ts";
import { Facts, system } from "../inspect/facts.ts";
import { Mapping } from "../mapping/mapping.ts";
import { supports } from "../mount/supports.ts";
import { withEnterProgram } from "../namespace/enter-program.ts";
import { refuseTraceable } from "../namespace/sysctls.ts";
import { UserNamespace } from "../namespace/user-namespace.ts";
import { copyOptions } from "../options.ts";
import { subidFlaws } from "../subid/rootless.ts";
import { callingUser } from "../subid/users.ts";

/** A job that a program wants to do. */
export type DoctorJob = "spawn" | "rootless" | "mount";

/** For `doctor`. */
export interface DoctorOptions {
	/**
	 * The job that `ok` is about; only its checks are made. `"spawn"`: programs in a user namespace that maps the caller.
	 * `"rootless"`: the same with a mapping of many IDs. `"mount"`: ID-mapped mounts. Without it all checks are made, and `ok` is about
	 * `"spawn"`.
	 */
	for?: DoctorJob | undefined;
	/**
	 * The path whose mount the caller wants to ID-map. If the mount is checked and the path cannot be opened, `doctor` rejects with the
	 * error of `supports`.
	 */
	path?: string | undefined;
}

/** A part of a job. */
export interface DoctorCheck {
	name: "namespaces" | "programs" | "ids" | "mounts";
	/** `"limited"`: it works, but the causes say what does not. `"missing"`: it does not work. */
	state: "ok" | "limited" | "missing";
	/** The result in words. */
	message: string;
	causes: FoundCause[];
}

/** What this machine can do for this process. */
export interface Diagnosis {
	/** Whether the job can be done. */
	ok: boolean;
	/** Why it cannot; empty if `ok` is true. */
	causes: FoundCause[];
	checks: DoctorCheck[];
}

const JOBS: Readonly<Record<DoctorJob, readonly DoctorCheck["name"][]>> = {
	spawn: ["namespaces", "programs"],
	rootless: ["namespaces", "programs", "ids"],
	mount: ["namespaces", "mounts"],
};

interface Found {
	causes: FoundCause[];
	/** The causes of `"limited"`, used if `causes` is empty. */
	limits?: FoundCause[];
	/** The result if both are empty. */
	message: string;
}

/** The causes of an error, or the error itself as one. */
function causesOf(error: unknown, known?: string): FoundCause[] {
	if (!(error instanceof UsernsError)) throw error;
	const { code, message, hint: fix, causes = [] } = error;
	const id = code === "ERR_USERNS_UNMAPPED_ID" ? "unmapped-ids" : (known ?? "unknown");
	return causes.length > 0
		? [...causes]
		: [{ id, message, evidence: message, consequence: "the kernel refuses it", fix }];
}

function attempt(run: () => void, id?: string): FoundCause[] {
	try {
		run();
		return [];
	} catch (error) {
		return causesOf(error, id);
	}
}

const CREATE: Refusal = {
	operation: "create",
	doing: "creating a user namespace",
	calls: ["clone3", "clone"],
};
const INSIDE: Refusal = { operation: "in the namespace", doing: "using capabilities in a user namespace" };
const RUN: Refusal = {
	operation: "run",
	doing: "starting a program in a user namespace",
	calls: ["memfd_create", "setns"],
};
/** What spawn can do without: `unshare`, and exec. */
const EXEC: Refusal = {
	operation: "run",
	doing: "exec, or the creation of other namespaces,",
	calls: ["execveat", "unshare"],
};
const MOUNT: Refusal = {
	operation: "mount",
	doing: "mounting",
	needs: ["CAP_SYS_ADMIN"],
	calls: ["open_tree", "mount_setattr", "move_mount"],
};

/** The causes that are certain before the operation is tried. A filter can end this process for a call. */
const BEFORE = ["seccomp-filter", "old-kernel", "unmapped-own-id"];
const refusedBy = (facts: Facts, refusal: Refusal) =>
	findCauses(refusal, facts).filter(({ id }) => BEFORE.includes(id));

function own(): string {
	return `u:0:${process.geteuid?.()}:1,g:0:${process.getegid?.()}:1`;
}

/** Not on this thread, because newuidmap may wait for a directory service. */
async function create(mapping: Mapping | string): Promise<FoundCause[]> {
	try {
		(await UserNamespace.create(mapping)).close();
		return [];
	} catch (error) {
		return causesOf(error);
	}
}

async function checkNamespaces(facts: Facts): Promise<Found> {
	const filtered = refusedBy(facts, CREATE);
	const refused = filtered.length > 0 ? filtered : await create(own());
	return {
		causes: refused.length > 0 ? refused : findCauses(INSIDE, facts),
		message: "can be created",
	};
}

function checkPrograms(facts: Facts): Found {
	const causes = refusedBy(facts, RUN);
	if (causes.length === 0) {
		causes.push(
			...attempt(() => refuseTraceable("ERR_USERNS_SPAWN", "cannot run a program"), "suid-dumpable"),
		);
		causes.push(...attempt(() => withEnterProgram("a program", 3, () => undefined)));
	}
	return { causes, limits: refusedBy(facts, EXEC), message: "can be started in a user namespace" };
}

async function checkIds(facts: Facts): Promise<Found> {
	const message = "more than the caller's own ID can be mapped";
	// Two IDs other than the caller's own, which need both capabilities.
	if (facts.isRoot) return { causes: await create("0:1:2"), message };
	const helper = { kind: "uid", program: "newuidmap", words: "-" } as const;
	const unknown = findCauses({ operation: "newuidmap", doing: "", helper }, facts);
	if (unknown[0]?.id === "unknown-user") return { causes: unknown.slice(0, 1), message };
	let mapping: Mapping;
	try {
		mapping = Mapping.rootless();
	} catch (error) {
		return { causes: causesOf(error), message };
	}
	return {
		causes: await create(mapping),
		limits: subidFlaws(callingUser()),
		message: `can be mapped: ${mapping.id}`,
	};
}

async function checkMounts(facts: Facts, path: string | undefined): Promise<Found> {
	const found = findCauses(MOUNT, facts).filter(({ id }) => id !== "foreign-mount-namespace");
	// What a profile of AppArmor says about / is not what it says about every path, and a mount without a target is not checked.
	const isPartial = ({ id }: FoundCause) => id === "security-module" && facts.profile !== undefined;
	const causes = found.filter((each) => !isPartial(each));
	const partial = found.filter(isPartial);
	const message = "can be made";
	if (causes.length > 0) return { causes, message };
	const where = path ?? "/";
	try {
		const { supported, reason, hint: fix = "", fsType, mountPoint } = await supports(where);
		const text = `${where} (${fsType} at ${mountPoint}): ${reason}`;
		if (supported) return { causes, limits: partial, message: `can be made of ${text}` };
		const cause = {
			id: "file-system",
			...{ message: text, evidence: reason, consequence: "it cannot be ID-mapped", fix },
		};
		return path === undefined
			? { causes, limits: [...partial, cause], message }
			: { causes: [cause], message };
	} catch (error) {
		const refused = causesOf(error);
		// A path that does not exist, or a file system that does not answer, says nothing about the mount.
		if (path !== undefined && (error as UsernsError).causes === undefined) throw error;
		return { causes: refused, message };
	}
}

function toCheck(name: DoctorCheck["name"], { causes, limits = [], message }: Found): DoctorCheck {
	const found = causes.length > 0 ? causes : limits;
	const state = causes.length > 0 ? "missing" : limits.length > 0 ? "limited" : "ok";
	return { name, state, message: found[0]?.message ?? message, causes: found };
}

/**
 * Finds out what this process can do on this machine, and why it cannot do the rest. It changes nothing: a user namespace is created and
 * dropped, and newuidmap(1) is run for it; a copy of a mount that no other process sees is mapped and dropped. Everything else is read.
 */
export async function doctor(options?: DoctorOptions): Promise<Diagnosis> {
	const { for: job, path } = copyOptions<DoctorOptions>("doctor", options, ["for", "path"]);
	if (job !== undefined && !Object.hasOwn(JOBS, job)) {
		throw invalidArgument(
			`doctor: for must be ${Object.keys(JOBS).map(show).join(" or ")}, not ${show(job)}`,
		);
	}
	const main = JOBS[job ?? "spawn"];
	const names = job === undefined ? [...JOBS.rootless, ...JOBS.mount.slice(1)] : main;
	const facts = new Facts(system(true));
	const checks: DoctorCheck[] = [];
	for (const name of names) {
		if (name === "namespaces") checks.push(toCheck(name, await checkNamespaces(facts)));
		else if (name === "programs") checks.push(toCheck(name, checkPrograms(facts)));
		else if (checks[0]?.state === "missing") {
			checks.push({ name, state: "missing", message: "needs a user namespace", causes: [] });
		} else if (name === "ids") checks.push(toCheck(name, await checkIds(facts)));
		else checks.push(toCheck(name, await checkMounts(facts, path)));
	}
	const missing = checks.filter(({ name, state }) => main.includes(name) && state === "missing");
	return { ok: missing.length === 0, causes: missing.flatMap(({ causes }) => causes), checks };
}
