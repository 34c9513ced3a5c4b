// The files, mounts and processes that the trials use: a tmpfs, a process in a user namespace, a bindfs. end() removes them.
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmdirSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { compilePrograms, findCompiler } from "../scripts/build-native.mjs";

const MAP = "0 100000 65536";
/** Ends the program when this process ends. It comes after --user, because a change of credentials clears the signal. */
const WITH_US = ["setpriv", "--pdeathsig", "KILL"];

async function until(what, condition) {
	for (let i = 0; !condition(); i++) {
		if (i > 500) throw new Error(`timeout: ${what}`);
		await sleep(10);
	}
}

function run(command, ...args) {
	const { status, stderr, error } = spawnSync(command, args, { encoding: "utf8" });
	if (status !== 0) throw error ?? new Error(`${command} ${args.join(" ")}: ${stderr}`);
}

/** A process in its own user namespace, without this package. */
async function processInNamespace() {
	const child = spawn("unshare", ["--user", ...WITH_US, "sleep", "infinity"], { stdio: "ignore" });
	const own = readlinkSync("/proc/self/ns/user");
	await until("unshare", () => readlinkSync(`/proc/${child.pid}/ns/user`) !== own);
	for (const file of ["uid_map", "gid_map"]) writeFileSync(`/proc/${child.pid}/${file}`, MAP);
	return child;
}

function makeFiles(folder, count) {
	mkdirSync(folder);
	for (let i = 0; i < count; i++) writeFileSync(join(folder, `${i}`), "x".repeat(1024));
}

/** Needs the private mount namespace that run.mjs makes, with which the mounts end even if this process is killed. */
export async function setStage({ files, chownedFiles, targetCount, peers }) {
	const folder = mkdtempSync(join(tmpdir(), "userns-bench-"));
	const children = [];
	const end = () => {
		for (const child of children) child.kill("SIGKILL");
		spawnSync("umount", ["--lazy", "--recursive", folder]);
		rmdirSync(folder);
	};
	try {
		run("mount", "-t", "tmpfs", "-o", "mode=0755", "userns-bench", folder);
		const stage = { folder, end, joinProgram: join(folder, "userns-join") };
		compilePrograms(folder, findCompiler());
		for (const name of ["target", "idmapped", "bindfs"]) {
			stage[name] = join(folder, name);
			mkdirSync(stage[name]);
		}
		stage.source = join(folder, "source");
		makeFiles(stage.source, files);
		stage.chowned = join(folder, "chowned");
		makeFiles(stage.chowned, chownedFiles);
		stage.targets = join(folder, "targets");
		for (let i = 0; i < targetCount; i++) mkdirSync(join(stage.targets, `${i}`), { recursive: true });
		children.push(await processInNamespace());
		stage.pid = children[0].pid;
		if (peers.bindfs.program) {
			const words = ["bindfs", "-f", "--map=0/100000:@0/@100000", stage.source, stage.bindfs];
			children.push(spawn(WITH_US[0], [...WITH_US.slice(1), ...words], { stdio: "ignore" }));
			const mounted = () => readFileSync("/proc/self/mountinfo", "utf8").includes(` ${stage.bindfs} `);
			await until("bindfs", mounted).catch(() => {
				peers.bindfs = { reason: "bindfs does not mount here (no /dev/fuse?)" };
			});
		}
		return stage;
	} catch (error) {
		end();
		throw error;
	}
}
