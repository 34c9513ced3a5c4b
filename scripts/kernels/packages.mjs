// Downloads and unpacks packages of Debian and of Node for another architecture. Installs nothing.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Runs a program without printing its output. Throws with the output if the program fails. */
export function quiet(command, args, options = {}) {
	const result = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 26, ...options });
	if (result.error) throw new Error(`${command}: ${result.error.message}`);
	if (result.status !== 0) throw new Error(`${command} ${args.join(" ")}\n${result.stdout}${result.stderr}`);
	return result.stdout;
}

/**
 * Returns the files of the packages and of all their dependencies. apt works on the state of an empty machine in a
 * folder; of this machine it uses only the list of sources, and changes nothing.
 */
export function debianPackages(architecture, names, cache) {
	const state = join(cache, architecture);
	for (const folder of ["lists/partial", "archives/partial"]) {
		mkdirSync(join(state, folder), { recursive: true });
	}
	writeFileSync(join(state, "status"), "");
	const settings = {
		"APT::Architecture": architecture,
		"APT::Architectures": architecture,
		"APT::Install-Recommends": "false",
		"APT::Sandbox::User": "root",
		"Acquire::Retries": "3",
		"Dir::State": state,
		"Dir::State::lists": join(state, "lists"),
		"Dir::State::status": join(state, "status"),
		"Dir::Cache": state,
		"Dir::Cache::archives": join(state, "archives"),
	};
	const apt = (...args) =>
		quiet("apt-get", [
			...Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]),
			...["-qy", ...args],
		]);
	apt("update");
	apt("install", "--download-only", ...names);
	// "Inst NAME (VERSION …": the folder may contain other versions from an earlier run.
	return [...apt("install", "--simulate", ...names).matchAll(/^Inst (\S+) \((\S+) .*\[(\S+)\]\)/gm)].map(
		([, name, version, of]) => join(state, "archives", `${name}_${version.replaceAll(":", "%3a")}_${of}.deb`),
	);
}

export function unpackDebian(files, folder) {
	for (const file of files) quiet("dpkg-deb", ["--extract", file, folder]);
}

/** Returns the program of the running version of Node for that architecture, from the package that contains it. */
export function unpackNode(name, folder) {
	const place = mkdtempSync(join(tmpdir(), "userns-node-"));
	try {
		const pack = ["pack", "--silent", "--pack-destination", place, `${name}@${process.versions.node}`];
		const file = quiet("npm", pack, { cwd: place }).trim();
		mkdirSync(folder, { recursive: true });
		quiet("tar", ["-xzf", join(place, file), "-C", folder, "--strip-components=1", "package/bin/node"]);
	} finally {
		rmSync(place, { recursive: true });
	}
}
