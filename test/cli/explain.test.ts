import assert from "node:assert/strict";
import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { mountIdmapped } from "../../src/index.ts";
import { type ScriptResult, userns } from "../support/child.ts";
import { freshType, withTmpfs } from "../support/mounts.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "linux:6.15"] as const;

/** A file of uid 70000 below an ID-mapped mount that does not map it. */
function withFile(name: string, body: (path: string, target: string, folder: string) => void): Promise<void> {
	return withTmpfs(async (folder) => {
		const [source, target] = [join(folder, "source"), join(folder, "target")];
		mkdirSync(source);
		mkdirSync(target);
		chmodSync(folder, 0o755);
		writeFileSync(join(source, name), "");
		chownSync(join(source, name), 70000, 1000);
		chmodSync(join(source, name), 0o640);
		(await mountIdmapped({ source, target, mapping: "0:100000:65536" })).close();
		body(join(target, name), target, folder);
	});
}

function ok(...args: string[]): string {
	const { status, stdout, stderr }: ScriptResult = userns(...args);
	assert.equal(status, 0, stderr);
	assert.equal(stderr, "");
	return stdout;
}

test("explain prints the chain and the verdicts as aligned text", { needs }, () =>
	withFile("file", (path, target) => {
		const fix = `userns mount --map u:70000:101000:1,g:1000:101000:1 --nested replace ${path} TARGET`;
		assert.equal(
			ok("explain", path, "--as", "101000", "--wide"),
			`path   ${path}
mode   0640
mount  ${target} (${freshType()})
map    0:100000:65536

     on disk  visible  inside  stat    real
uid  70000    -        -       65534   no
gid  1000     101000   101000  101000

uid: the map of the mount at ${target} has no uid 70000 on disk: 65536–4294967294 is not mapped, and the nearest extent is 0:100000:65536

as 101000
  read     yes          its mode 0640 or its ACL grants it
  write    no EACCES    the mount does not map its uid; no process may write to such a file
                        ${fix}
  execute  no EACCES    its mode 0640 does not let its group execute it; the mount does not map its uid
                        ${fix} && chmod u+x TARGET
  create   no ENOTDIR   it is not a directory
  delete   no EOVERFLOW the mount does not map its uid
                        chown 101000:101000 ${path}
  chown    no EPERM     chown 101000:101000: the process does not have CAP_CHOWN
                        chown 101000:101000 ${path}
`,
		);
		const lines = ok("explain", path, "--as", "101000").split("\n");
		for (const line of lines) assert.ok(line.length <= 80 || line.includes(path), line);
	}),
);

test("explain --json prints what the library returns, and null for what cannot be known", { needs }, () =>
	withFile("file", (path) => {
		const { uid, access, mount } = JSON.parse(ok("explain", path, "--as", "0:0", "--json"));
		assert.deepEqual([uid.disk, uid.stat, uid.lost.at, uid.real], [70000, 65534, "mount", false]);
		assert.deepEqual(Object.keys(access), ["read", "write", "execute", "create", "delete", "chown"]);
		// Not even root of the host: a capability does not count for an owner that the mount does not map.
		assert.deepEqual(
			[access.read.allowed, access.read.errno, access.create.errno],
			[false, "EACCES", "ENOTDIR"],
		);
		assert.equal(typeof access.write.reason, "string");
		assert.deepEqual(mount.mapping.uidMappings, [{ containerID: 0, hostID: 100000, size: 65536 }]);
	}),
);

test("explain --svg draws the chain, and escapes names", { needs }, () =>
	withFile('<a&b">', (path, _, folder) => {
		const drawing = join(folder, "drawing.svg");
		assert.match(ok("explain", path, "--svg", drawing), /^written to /);
		const text = readFileSync(drawing, "utf8");
		assert.equal(ok("explain", path, "--svg", "-"), text);
		assert.match(text, /^<svg xmlns=/);
		assert.ok(text.includes("&#60;a&#38;b&#34;&#62;</text>"));
		for (const label of ["on disk", "visible", "inside", "stat(2)", "70000", "no ID", "65534", "101000"]) {
			assert.ok(text.includes(`>${label}</text>`), label);
		}
		assert.equal(text.match(/<rect /g)?.length, 9);
		assert.equal(text.match(/<text/g)?.length, text.match(/<\/text>/g)?.length);
		const { status, stderr } = userns("explain", path, "--svg", "-", "--json");
		assert.equal(status, 2);
		assert.match(stderr, /both print the result/);
		assert.equal(userns("explain", path, "--svg", join(folder, "none/x.svg")).status, 1);
	}),
);

test("wrong usage of explain names the options of the command", { needs: ["linux"] }, () => {
	for (const [args, message] of [
		[["/", "--as", "1:x"], /the group "x" must be a gid/],
		[["/", "--chown-to", "1"], /--chown-to needs the IDs of a process\nhint: Name them: --as 1000:1000\./],
		[["/", "--in", "x"], /A pid must be a whole number/],
		[[], /missing required argument 'path'/],
	] as const) {
		const { status, stderr } = userns("explain", ...args);
		assert.equal(status, 2, stderr);
		assert.match(stderr, message);
	}
	const { status, stderr } = userns("explain", "/no/such/file");
	assert.equal(status, 1);
	assert.match(stderr, /ENOENT/);
});
