import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
	chmodSync,
	closeSync,
	copyFileSync,
	existsSync,
	mkdirSync,
	openSync,
	readdirSync,
	readFileSync,
	rmdirSync,
	symlinkSync,
	writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Mapping, type MappingInput, type OciMappings } from "../../src/index.ts";
import { sh } from "./child.ts";
import { type Ended, privateMounts, runToEnd } from "./private-mounts.ts";
import { SLOWER } from "./slower.ts";

export type Runtime = "crun" | "runc";

/** Whether a runtime has at least that version, such as "1.1.11". */
export function isSince(runtime: Runtime, version: string): boolean {
	// Three numbers of at most three digits as one.
	const number = (text: string) => {
		const [, ...numbers] = /(\d+)\.(\d+)(?:\.(\d+))?/.exec(text) ?? assert.fail(text);
		return numbers.reduce((sum, each) => sum * 1000 + Number(each ?? 0), 0);
	};
	return number(sh(runtime, "--version")) >= number(version);
}

/** Whether a runtime requires the mappings beside the path of a namespace. Later versions of runc warn of them. */
export function needsMappings(runtime: Runtime): boolean {
	return runtime === "runc" && !isSince("runc", "1.1.11");
}

/** The path of cgroup2 on a machine with both kinds, and on one without. */
const CGROUPS = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
const APPLETS = [
	"sh",
	"cat",
	"chown",
	"id",
	"mkdir",
	"mv",
	"readlink",
	"rm",
	"sleep",
	"stat",
	"touch",
	"usleep",
];

/** A small root file system with the static busybox, owned by root on disk. */
export function makeRootfs(folder: string): string {
	for (const name of ["bin", "proc", "dev", "data"]) mkdirSync(join(folder, name), { recursive: true });
	copyFileSync(sh("sh", "-c", "command -v busybox").trim(), join(folder, "bin/busybox"));
	chmodSync(join(folder, "bin/busybox"), 0o755);
	for (const name of APPLETS) symlinkSync("busybox", join(folder, "bin", name));
	return folder;
}

export interface Config {
	/** The script for sh -c, as root of the container. */
	script: string;
	/** `linux.namespaces[].path` of the user namespace; if left out, the runtime creates one. */
	userns?: string;
	/** Left out, where the runtime allows it, beside a path. */
	mappings?: OciMappings;
	/** The source of /data. */
	volume: string;
	/** The options of its bind mount. */
	options?: readonly string[];
	/** The name of the cgroup; left out if the user may create none. */
	cgroup?: string;
}

/** What config.json says of a namespace that is there, by a link at `path` to a descriptor of this process. */
export function joining(
	runtime: Runtime,
	path: string,
	fd: number,
	mapping: MappingInput,
): Pick<Config, "userns" | "mappings"> {
	symlinkSync(`/proc/${process.pid}/fd/${fd}`, path);
	return { userns: path, ...(needsMappings(runtime) && { mappings: Mapping.from(mapping).toJSON() }) };
}

/** A complete config.json of the OCI runtime-spec 1.0.2. */
export function ociConfig({ script, userns, mappings, volume, options, cgroup }: Config): object {
	const capabilities = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_SETUID", "CAP_SETGID"];
	return {
		ociVersion: "1.0.2",
		root: { path: "rootfs" },
		hostname: "container",
		process: {
			user: { uid: 0, gid: 0 },
			args: ["/bin/sh", "-c", script],
			cwd: "/",
			env: ["PATH=/bin"],
			capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
			noNewPrivileges: true,
		},
		mounts: [
			{ destination: "/proc", type: "proc", source: "proc" },
			{ destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["nosuid", "mode=755"] },
			{ destination: "/data", type: "bind", source: volume, options: options ?? ["bind", "rw"] },
		],
		linux: {
			...mappings,
			...(cgroup !== undefined && { cgroupsPath: `/${cgroup}` }),
			namespaces: [
				userns === undefined ? { type: "user" } : { type: "user", path: userns },
				...["pid", "mount", "ipc", "uts", "network"].map((type) => ({ type })),
			],
		},
	};
}

/**
 * A container by its name, with its bundle and the runtime's state in one folder. The name is its cgroup's, too. A
 * guard process deletes it at the end, or when the tests are killed before, because no other process could.
 */
export class Container {
	readonly #guard: ChildProcess;
	readonly #runtime: Runtime;
	readonly #name: string;
	readonly #bundle: string;

	/** Writes the bundle's config.json; the caller makes its rootfs. */
	constructor(runtime: Runtime, bundle: string, config: Omit<Config, "cgroup">) {
		this.#runtime = runtime;
		this.#name = `userns-test-${runtime}-${process.pid}-${containers++}`;
		this.#bundle = bundle;
		mkdirSync(join(bundle, "state"), { recursive: true });
		writeFileSync(join(bundle, "config.json"), JSON.stringify(ociConfig({ ...config, cgroup: this.#name })));
		// The guard has its own session, so that no signal to the group of the tests reaches it.
		this.#guard = spawn("sh", ["-c", 'cat; "$@"', "sh", ...this.#command("delete", "--force")], {
			stdio: ["pipe", "ignore", "ignore"],
			detached: true,
		});
	}

	#command(...args: string[]): string[] {
		return [
			...privateMounts({ cgroup2: true }),
			this.#runtime,
			"--root",
			join(this.#bundle, "state"),
			...args,
			this.#name,
		];
	}

	/** Runs it to its end. */
	run(): Ended {
		return runToEnd(this.#command("run", "--bundle", this.#bundle));
	}

	/** Starts it, with its standard output in a pipe. It ends by itself. */
	start(): ChildProcess {
		const [program = "", ...args] = this.#command("run", "--bundle", this.#bundle);
		return spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
	}

	/** Starts it in the background, and returns the pid of its first process. */
	startDetached(): number {
		// The container keeps the runtime's standard streams, so a pipe would never end.
		const log = openSync(join(this.#bundle, "log"), "w+");
		try {
			const [program = "", ...args] = this.#command("run", "--detach", "--bundle", this.#bundle);
			const { status } = spawnSync(program, args, { stdio: ["ignore", log, log], timeout: 30_000 * SLOWER });
			if (status !== 0) throw new Error(readFileSync(join(this.#bundle, "log"), "utf8"));
		} finally {
			closeSync(log);
		}
		const { stdout, stderr } = runToEnd(this.#command("state"));
		if (stdout === "") throw new Error(stderr);
		return (JSON.parse(stdout) as { pid: number }).pid;
	}

	/** Ends it in any state, and asserts that no state and no cgroup of it is left. */
	async remove(): Promise<string[]> {
		this.#guard.stdin?.end();
		if (this.#guard.exitCode === null) await once(this.#guard, "close");
		const left = readdirSync(join(this.#bundle, "state")).map((name) => `state ${name}`);
		for (const cgroup of CGROUPS.map((folder) => join(folder, this.#name))) {
			if (!existsSync(cgroup)) continue;
			left.push(`cgroup ${cgroup}`);
			rmdirSync(cgroup);
		}
		return left;
	}
}

let containers = 0;
