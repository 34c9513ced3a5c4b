// Downloads and unpacks packages of Debian and of Node for another system. Installs nothing.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Runs a program without printing its output. Throws with the output if the program fails. */
export function quiet(command, args, options = {}) {
	const result = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 26, ...options });
	if (result.error) throw new Error(`${command}: ${result.error.message}`);
	if (result.status !== 0) throw new Error(`${command} ${args.join(" ")}\n${result.stdout}${result.stderr}`);
	return result.stdout;
}

/** Returns the mirror of Debian that this machine uses. */
function mirror() {
	const format = [
		"--format",
		"$(SITE) $(SUITE)",
		"Created-By: Packages",
		"Component: main",
		"Origin: Debian",
	];
	const lines = quiet("apt-get", ["indextargets", ...format]).split("\n");
	const site = lines.find((line) => !line.endsWith("-security"))?.split(" ")[0];
	if (!site) throw new Error("this machine's apt has no mirror of Debian, or was never updated");
	return site;
}

/**
 * Returns apt for a suite of Debian. It works on the state of an empty machine in a folder: of this machine it uses only the address
 * of the mirror and the keys, and it changes nothing. `experimental` names the packages that come from that suite.
 */
export function debianSuite(suite, architecture, cache, experimental = []) {
	const state = join(cache, `apt-${suite}-${architecture}`);
	for (const folder of ["lists/partial", "archives/partial"]) {
		mkdirSync(join(state, folder), { recursive: true });
	}
	writeFileSync(join(state, "status"), "");
	// Backports depend on packages of the suite that they are for.
	const suites = [
		...new Set([suite, suite.replace("-backports", ""), ...experimental.map(() => "experimental")]),
	];
	const site = mirror();
	writeFileSync(join(state, "sources.list"), suites.map((each) => `deb ${site} ${each} main\n`).join(""));
	const pins = experimental.map(
		(name) => `Package: ${name}\nPin: release a=experimental\nPin-Priority: 999\n\n`,
	);
	writeFileSync(join(state, "preferences"), pins.join(""));
	const settings = {
		"APT::Architecture": architecture,
		"APT::Architectures": architecture,
		"APT::Default-Release": suite,
		"APT::Install-Recommends": "false",
		"APT::Sandbox::User": "root",
		"APT::Update::Error-Mode": "any",
		"Acquire::Retries": "1",
		"Acquire::Languages": "none",
		"Acquire::http::Timeout": "15",
		"Dir::Etc::preferences": join(state, "preferences"),
		"Dir::Etc::preferencesparts": "/dev/null",
		"Dir::Etc::sourcelist": join(state, "sources.list"),
		"Dir::Etc::sourceparts": "/dev/null",
		"Dir::State": state,
		"Dir::State::lists": join(state, "lists"),
		"Dir::State::status": join(state, "status"),
		"Dir::Cache": state,
		"Dir::Cache::archives": join(state, "archives"),
	};
	const options = Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
	const apt = (args, cwd) => quiet("apt-get", [...options, "-qy", ...args], { cwd });
	apt(["update"]);
	return {
		/** Returns the packages and all their dependencies, each as NAME=VERSION. */
		withDependencies: (names) =>
			[...apt(["install", "--simulate", ...names]).matchAll(/^Inst (\S+) \((\S+)/gm)].map(
				([, name, version]) => `${name}=${version}`,
			),
		/** Unpacks packages, without their dependencies, into a folder. */
		unpack(names, folder) {
			const archives = mkdtempSync(join(state, "archives/unpack-"));
			try {
				apt(["download", ...names], archives);
				mkdirSync(folder, { recursive: true });
				for (const file of readdirSync(archives))
					quiet("dpkg-deb", ["--extract", join(archives, file), folder]);
			} finally {
				rmSync(archives, { recursive: true });
			}
		},
	};
}

/** Unpacks a package of npm, or only one of its files, into a folder. */
export function unpackNpm(name, folder, ...files) {
	const place = mkdtempSync(join(tmpdir(), "userns-npm-"));
	try {
		const file = quiet("npm", ["pack", "--silent", "--pack-destination", place, name], { cwd: place }).trim();
		mkdirSync(folder, { recursive: true });
		const members = files.map((each) => `package/${each}`);
		quiet("tar", ["-xzf", join(place, file), "-C", folder, "--strip-components=1", ...members]);
	} finally {
		rmSync(place, { recursive: true });
	}
}

/** Unpacks the program of the running version of Node for another architecture, from the package that contains it. */
export function unpackNode(name, folder) {
	unpackNpm(`${name}@${process.versions.node}`, folder, "bin/node");
}
