import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chownSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root, sh, userns } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { freshType, mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts"] as const;
const MAP = "0:100000:65536";

function ok(...args: string[]): string {
	const { status, stdout, stderr } = userns(...args);
	assert.equal(stderr, "");
	assert.equal(status, 0);
	return stdout;
}

test("the help of mount, mounts and supports names every option", () => {
	const options = {
		mount: [
			"--map",
			"--unmap",
			"--nested",
			"--recursive",
			"--map-root-only",
			"--skip-unsupported",
			"--into",
		].concat(
			...[
				"--target-root",
				"--resolve",
				"--replace",
				"--read-only",
				"--nosymfollow",
				"--nodiratime",
				"--atime",
			],
			...["--propagation", "--nosuid", "--nodev", "--noexec", "--json"],
		),
		mounts: ["--all", "--pid", "--json"],
		supports: ["--json"],
	};
	for (const [command, words] of Object.entries(options)) {
		const help = ok(command, "--help");
		for (const word of words) assert.match(help, new RegExp(`^ +${word}\\b`, "m"), word);
		assert.match(ok("--help"), new RegExp(`^  ${command} `, "m"));
	}
});

test("wrong usage of the options exits with status 2 and prints nothing on standard output", () => {
	const cases: [string[], RegExp][] = [
		[
			["mount", "--map", MAP, "--nested", "perhaps", "/a", "/b"],
			/Allowed choices are compose, replace, refuse/,
		],
		[["mount", "--map", MAP, "--unmap", "/a", "/b"], /'--unmap' cannot be used with option '--map <map>'/],
		[["mount", "--map", MAP, "--map-root-only", "--skip-unsupported", "/a", "/b"], /--skip-unsupported/],
		[["mount", "--map", MAP, "--into", "0", "/a", "/b"], /--into must be a pid/],
		[
			["mount", "--map", MAP, "--into", "1", "--target-root", "/", "/a", "/b"],
			/'--target-root <dir>' cannot be used with option '--into <pid\|path>'/,
		],
		[["mount", "--map", MAP, "--atime", "never", "/a", "/b"], /Allowed choices/],
		[["mounts", "--pid", "me"], /A pid must be a whole number/],
		[["mounts", "extra"], /too many arguments/],
		[["supports"], /missing required argument 'path'/],
	];
	for (const [args, message] of cases) {
		const { status, stdout, stderr } = userns(...args);
		assert.equal(status, 2, `${args.join(" ")}: ${stderr}`);
		assert.equal(stdout, "");
		assert.match(stderr, /^userns: .*\nhint: .*\n$/);
		assert.match(stderr, message);
	}
});

test("mount sets attributes, composes maps and replaces a mount", { needs: [...needs, "linux:6.15"] }, () =>
	withTmpfs((folder) => {
		const [source = "", one = "", two = ""] = mkdirs(folder, "source", "one", "two");
		chownSync(source, 7, 7);
		ok("mount", "--map", MAP, "--nosymfollow", "--nodiratime", "--atime", "noatime", source, one);
		for (const word of ["nosymfollow", "nodiratime", "noatime", "idmapped"]) {
			assert.ok(mountAt(one)?.options.includes(word), word);
		}
		assert.match(
			ok("mount", "--map", "100000:0:65536", one, two),
			/on disk +visible +IDs\nuid, gid +0–65535 +0–65535/,
		);
		assert.equal(statSync(two).uid, 7);
		ok("umount", two);
		ok("mount", "--map", "7:9:1", "--nested", "replace", one, two);
		assert.equal(statSync(two).uid, 9);
		const first = mountAt(two)?.id;
		assert.match(
			ok("mount", "--unmap", "--replace", "--propagation", "unbindable", one, two),
			/\nwithout a map\n$/,
		);
		assert.notEqual(mountAt(two)?.id, first);
		assert.equal(statSync(two).uid, 7);
		assert.deepEqual(mountAt(two)?.optional, ["unbindable"]);
		const refused = userns("mount", "--map", MAP, "--nested", "refuse", one, source);
		assert.equal(refused.status, 1);
		assert.match(refused.stderr, /^userns: .*tmpfs at .*one is already ID-mapped\nhint: /);
		ok("umount", two); // umount(8) would leave the record of a mount without a map
		ok("umount", one);
	}),
);

test(
	"mount --map accepts every syntax with one meaning, and the hint for one kind of ID works when followed",
	{ needs },
	() =>
		withTmpfs((folder) => {
			const [source = "", target = ""] = mkdirs(folder, "source", "target");
			writeFileSync(join(source, "file"), "");
			chownSync(join(source, "file"), 1000, 100);
			for (const map of [
				"X-mount.idmap=u:1000:root:1 g:100:5:1 b:0:7:1",
				"lxc.idmap: u 1000 0 1\nlxc.idmap: g 100 5 1",
				"--map-users=1000:0:1 --map-groups=100:5:1",
				"idmap=uids=1000-0-1;gids=100-5-1",
				'{"UidMap":["1000:0:1"],"GidMap":["100:5:1"]}',
				"uid 0 1000\ngid 5 100",
			]) {
				ok("mount", `--map=${map}`, source, target);
				const { uid, gid } = statSync(join(target, "file"));
				assert.deepEqual([uid, gid], [0, 5], map);
				ok("umount", target);
			}
			for (const [map, message] of [
				["keep-id:uid=5", /is for user namespaces only/],
				["0:1", /column 4 .*\nhint: .*"userns map convert --from SYNTAX" converts it\.\n/],
			] as const) {
				const refused = userns("mount", "--map", map, source, target);
				assert.equal(refused.status, 2);
				assert.match(refused.stderr, message);
			}
			const one = userns("mount", "--map", "g:100:20:1", source, target);
			const [, more = ""] =
				/\nhint: Add (\S+) to leave the uids as they are on disk\.\n$/.exec(one.stderr) ?? [];
			assert.equal(more, "u:0:0:4294967295");
			ok("mount", "--map", `g:100:20:1,${more}`, source, target);
			const { uid, gid } = statSync(join(target, "file"));
			assert.deepEqual([uid, gid], [1000, 20]);
			ok("umount", target);
		}),
);

test(
	"mount --recursive names the mount that refuses, and --skip-unsupported lists it",
	{ needs: [...needs, "linux:6.15"] },
	() =>
		withTmpfs((folder) => {
			const [source = "", target = "", ram = ""] = mkdirs(folder, "source", "target", "source/ram");
			sh("mount", "-t", "ramfs", "ram", ram);
			const refused = userns("mount", "--map", MAP, "--recursive", source, target);
			assert.equal(refused.status, 1);
			assert.match(refused.stderr, new RegExp(`for the ramfs at ${ram}: .*EINVAL`));
			const text = ok("mount", "--map", MAP, "--recursive", "--skip-unsupported", source, target);
			assert.match(text, new RegExp(`\nnot mapped: ramfs at ${ram}: setting the map: EINVAL`));
			ok("umount", "--recursive", target);
			const json = JSON.parse(
				ok("mount", "--json", "--map", MAP, "--recursive", "--skip-unsupported", source, target),
			);
			assert.equal(json.skipped.length, 1);
			assert.equal(json.skipped[0].mountPoint, ram);
			ok("umount", "--recursive", target);
			ok("mount", "--map", MAP, "--recursive", "--map-root-only", source, target);
			assert.ok(!mountAt(join(target, "ram"))?.options.includes("idmapped"));
			ok("umount", "--recursive", target);
			sh("umount", ram);
		}),
);

test("--target-root and --resolve restrict where the target leads", { needs }, () =>
	withTmpfs((folder) => {
		const [source = "", jail = "", spot = "", outside = ""] = mkdirs(
			folder,
			"source",
			"jail",
			"jail/spot",
			"outside",
		);
		symlinkSync(outside, join(jail, "link"));
		const jailed = userns("mount", "--map", MAP, "--target-root", jail, source, "/link");
		assert.equal(jailed.status, 1);
		assert.match(jailed.stderr, /opening the target: ENOENT/);
		const links = userns("mount", "--map", MAP, "--resolve", "no-symlinks", source, join(jail, "link"));
		assert.match(links.stderr, /opening the target: ELOOP.*\nhint: Name the target without/);
		ok("mount", "--map", MAP, "--target-root", jail, source, "../../spot");
		assert.ok(mountAt(spot));
		assert.equal(mountAt(outside), undefined);
		ok("umount", spot);
	}),
);

test(
	"mount --into a container is visible to mounts --pid, and umount --into removes it",
	{ needs: [...needs, "linux:6.15", "tool:unshare"] },
	() =>
		withTmpfs(async (folder) => {
			const [source = ""] = mkdirs(folder, "source");
			const container = await startContainer(folder, "pivot", MAP);
			try {
				const pid = `${container.pid}`;
				assert.match(
					ok("mount", "--map", MAP, "--into", pid, source, "/data"),
					new RegExp(`mounted on /data in ${pid}\n`),
				);
				assert.equal(statSync(`/proc/${pid}/root/data`).uid, 100000);
				const [found] = JSON.parse(ok("mounts", "--json", "--pid", pid));
				assert.equal(found.mountPoint, "/data");
				assert.match(ok("mounts", "--pid", pid), /^\/data +tmpfs +uid, gid +0–65535 +100000–165535 +65536$/m);
				assert.ok(!userns("mounts").stdout.includes("/data "));
				const host = userns("umount", "/data");
				assert.equal(host.status, 1); // there is none on the host
				const other = userns("umount", "--into", pid, "/usr");
				assert.match(other.stderr, /it is not a mount of this package/);
				assert.equal(
					ok("umount", "--into", pid, "/data"),
					`ID-mapped mount unmounted from /data in ${pid}\n`,
				);
				const none = userns("mounts", "--pid", pid);
				assert.deepEqual([none.status, none.stdout, none.stderr], [0, "", "no ID-mapped mounts\n"]);
				const path = `/proc/${pid}/ns/mnt`;
				ok("mount", "--map", MAP, "--into", path, source, "/data");
				ok("umount", "--into", path, "/data");
				const again = userns("umount", "--into", path, "/data");
				assert.match(again.stderr, /^userns: cannot unmount "\/data".*\nhint: Pass the path/);
			} finally {
				await container.end();
			}
		}),
);

test(
	"mounts fits the table into a terminal of 80 columns, and prints whole mount points with --wide and in a pipe",
	{
		needs: [...needs, "linux:6.15", "tool:script"],
	},
	() =>
		withTmpfs((folder) => {
			const name = join("x".repeat(60), "y".repeat(60), "end");
			const [source = "", target = "", short = ""] = mkdirs(folder, "source", name, "short");
			ok("mount", "--map", "u:0:2100000000:65536,g:0:2100000000:10", source, target);
			ok("mount", "--map", "0:1:1", source, short);
			const atTerminal = (columns: number, option = "") => {
				const command = `'${process.execPath}' '${join(root, "dist/src/cli/userns.js")}' mounts ${option}`;
				const { stdout } = spawnSync("script", ["-qec", `stty cols ${columns}; ${command}`, "/dev/null"], {
					encoding: "utf8",
					stdio: ["ignore", "pipe", "pipe"],
				});
				return stdout.split("\r\n");
			};
			const lines = atTerminal(80);
			for (const line of lines) assert.ok(line.length <= 80, line);
			assert.equal(Math.max(...lines.map(({ length }) => length)), 80);
			const at = lines.findIndex(
				(line) => line.startsWith(`${folder.slice(0, 5)}`) && line.includes("y/end  "),
			);
			assert.match(lines[at] ?? "", /^\/[^ ]+…y+\/end {2}tmpfs {2}uid {2}/);
			assert.ok(lines.some((line) => line.startsWith(`${short} `) || /….*\/short {2}tmpfs/.test(line)));
			const piped = ok("mounts").split("\n");
			assert.ok(piped.some((line) => line.startsWith(`${target}  tmpfs  uid`)));
			assert.deepEqual(atTerminal(80, "--wide"), piped);
			assert.deepEqual(atTerminal(500), piped);
			assert.equal(JSON.parse(atTerminal(80, "--json").join("\n"))[0].mountPoint.includes("…"), false);
			ok("umount", target);
			ok("umount", short);
		}),
);

test("mounts prints a table, JSON with maps, and all with --all", { needs: [...needs, "linux:6.15"] }, () =>
	withTmpfs((folder) => {
		const [source = "", target = ""] = mkdirs(folder, "source", "a b");
		ok("mount", "--map", "u:0:100000:10,u:20:5:1,g:0:200000:10", source, target);
		const lines = ok("mounts").split("\n");
		assert.match(lines[0] ?? "", /^mount point +type +kind +on disk +visible +IDs$/);
		const at = lines.findIndex((line) => line.startsWith(target.replace(" ", "\\040")));
		assert.match(lines[at] ?? "", /tmpfs +uid +0–9 +100000–100009 +10$/);
		assert.match(lines[at + 1] ?? "", /^ +20 +5 +1$/);
		assert.match(lines[at + 2] ?? "", /^ +gid +0–9 +200000–200009 +10$/);
		const json = JSON.parse(ok("mounts", "--json"));
		const found = json.find(({ mountPoint }: { mountPoint: string }) => mountPoint === target);
		assert.deepEqual(found.mapping.gidMappings, [{ containerID: 0, hostID: 200000, size: 10 }]);
		assert.match(ok("mounts", "--all"), /^\/proc +proc +-$/m);
		ok("umount", target);
		const gone = userns("mounts", "--pid", "2147483647", "--json");
		assert.equal(gone.status, 1);
		assert.equal(JSON.parse(gone.stdout).error.code, "ERR_USERNS_READ_MOUNTS");
	}),
);

test("supports exits with status 0 or 1, and prints text or JSON", { needs }, () =>
	withTmpfs((folder) => {
		assert.equal(
			ok("supports", folder),
			`${folder} (${freshType()} at ${folder}): yes, a copy of its mount was mapped\n`,
		);
		writeFileSync(join(folder, "file"), "");
		assert.equal(JSON.parse(ok("supports", "--json", join(folder, "file"))).supported, true);
		const no = userns("supports", "/proc/self");
		assert.equal(no.status, 1);
		assert.match(no.stdout, /^\/proc\/self \(proc at \/proc\): no, .*EINVAL.*\nhint: /);
		assert.equal(no.stderr, "");
		const json = userns("supports", "--json", "/proc");
		assert.equal(json.status, 1);
		assert.equal(JSON.parse(json.stdout).supported, false);
		const missing = userns("supports", join(folder, "none"));
		assert.equal(missing.status, 2); // the answer is not known
		assert.equal(missing.stdout, "");
		assert.match(missing.stderr, /ENOENT.*\nhint: Check the path/);
	}),
);
