import assert from "node:assert/strict";
import { chmodSync, chownSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { sh, userns } from "../support/child.ts";
import { startContainer } from "../support/container.ts";
import { mkdirs, mountAt, withTmpfs } from "../support/mounts.ts";
import { olderThan } from "../support/needs.ts";
import { test } from "../support/test.ts";

const needs = ["linux", "root", "mounts", "linux:5.19", "fs:overlay"] as const;
const MAP = "0:100000:65536";

function ok(...args: string[]): string {
	const { status, stdout, stderr } = userns(...args);
	assert.equal(stderr, "");
	assert.equal(status, 0);
	return stdout;
}

interface Paths {
	one: string;
	two: string;
	upper: string;
	work: string;
	target: string;
}

/** Two lower layers, of which the first covers the file "both", and fresh directories of root. */
async function withLayers(body: (paths: Paths, folder: string) => void | Promise<void>): Promise<void> {
	await withTmpfs(async (folder) => {
		const made = mkdirs(folder, "one", "two", "upper", "work", "target");
		const [one = "", two = "", upper = "", work = "", target = ""] = made;
		for (const path of made) chmodSync(path, 0o755);
		writeFileSync(join(one, "both"), "one");
		writeFileSync(join(two, "both"), "two");
		writeFileSync(join(two, "file"), "");
		chownSync(join(two, "file"), 7, 8);
		await body({ one, two, upper, work, target }, folder);
	});
}

test("overlay mounts its lower layers in the order given, read-only, and umount unmounts it", { needs }, () =>
	withLayers(({ one, two, target }) => {
		const text = ok("overlay", "--map", MAP, "--lower", one, "--lower", two, "--nosuid", target);
		assert.ok(text.startsWith(`an overlay of 2 lower layers is mounted on ${target}\n`), text);
		assert.match(text, /on disk +visible +IDs\nuid, gid +0–65535 +100000–165535 +65536\n$/);
		assert.equal(readFileSync(join(target, "both"), "utf8"), "one");
		const { uid, gid } = statSync(join(target, "file"));
		assert.deepEqual([uid, gid], [100007, 100008]);
		assert.throws(() => writeFileSync(join(target, "new"), ""), { code: "EROFS" });
		assert.ok(mountAt(target)?.options.includes("nosuid"));
		ok("umount", target);
		assert.equal(mountAt(target), undefined);
	}),
);

test(
	"overlay --json has what was mounted; --upper, --work, --map-upper and --keep-upper are used",
	{ needs },
	() =>
		withLayers(({ one, two, upper, work, target }) => {
			const writable = ["--lower", two, "--lower", one, "--upper", upper, "--work", work];
			const result = JSON.parse(ok("overlay", "--json", "--map", MAP, ...writable, "--keep-upper", target));
			const extents = [{ containerID: 0, hostID: 100000, size: 65536 }];
			assert.deepEqual(result, {
				lower: [two, one],
				upper,
				work,
				target,
				mountId: mountAt(target)?.id,
				readOnly: false,
				mapping: { uidMappings: extents, gidMappings: extents },
			});
			assert.equal(readFileSync(join(target, "both"), "utf8"), "two");
			assert.equal(statSync(target).uid, 0);
			ok("umount", target);
			const [fresh = "", other = ""] = mkdirs(upper, "../fresh", "../other");
			const mapped = ["--lower", one, "--upper", fresh, "--work", other, "--map-upper"];
			const text = ok("overlay", "--map", `${MAP},4000000:0:1`, ...mapped, target);
			assert.ok(text.startsWith(`an overlay of 1 lower layer and ${fresh} is mounted on ${target}\n`), text);
			assert.equal(statSync(target).uid, 100000);
			assert.equal(statSync(fresh).uid, 0);
			ok("umount", target);
		}),
);

test("overlay --userns takes the map of a pinned namespace and of a process", { needs }, () =>
	withLayers(async ({ one, two, target }, folder) => {
		const pinned = join(folder, "pinned");
		ok("create", "--map", "0:200000:65536", "--at", pinned);
		ok("overlay", "--userns", pinned, "--lower", one, "--lower", two, target);
		assert.equal(statSync(join(target, "file")).uid, 200007);
		ok("umount", target);
		ok("umount", pinned);
		const container = await startContainer(folder, "pivot", MAP);
		try {
			ok("overlay", "--userns", `${container.pid}`, "--lower", one, "--lower", two, target);
			assert.equal(statSync(join(target, "file")).uid, 100007);
			ok("umount", target);
			const inside = ["--into", `${container.pid}`, "/data"];
			const text = ok("overlay", "--map", MAP, "--lower", one, "--lower", two, ...inside);
			assert.match(
				text,
				new RegExp(`^an overlay of 2 lower layers is mounted on /data in ${container.pid}\n`),
			);
			assert.equal(existsSync("/data/both"), false);
			assert.equal(statSync(`/proc/${container.pid}/root/data/file`).uid, 100007);
			ok("umount", ...inside);
		} finally {
			await container.end();
		}
	}),
);

test(
	"wrong usage of overlay exits with status 2, and errors are in the words of the command",
	{ needs },
	() =>
		withLayers(({ one, two, upper, work, target }) => {
			const lower = ["--lower", one, "--lower", two];
			const usage: [string[], RegExp][] = [
				[["--map", MAP, target], /--lower is not given/],
				[[...lower, target], /neither --map nor --userns is given/],
				[[...lower, "--map", "container", target], /--map container is not for overlays; use --userns PID/],
				[
					["--map", MAP, "--userns", "1", ...lower, target],
					/'--userns <pid\|path>' cannot be used with option/,
				],
				[["--map", MAP, "--upper", upper, ...lower, target], /--upper and --work must be given together/],
				[["--map", "auto", ...lower, target], /--map auto is for user namespaces only/],
				[
					["--map", MAP, "--lower", one, target],
					/an overlay needs two lower layers[\s\S]*"userns mount --read-only"/,
				],
				[["--map", MAP, "--keep-upper", ...lower, target], /--keep-upper needs an upper layer/],
				[["--map", MAP, ...lower], /missing required argument 'target'/],
				[
					["--map", MAP, ...Array.from({ length: 501 }, () => ["--lower", one]).flat(), target],
					/501 lower layers/,
				],
			];
			for (const [args, message] of usage) {
				const { status, stdout, stderr } = userns("overlay", ...args);
				assert.equal(status, 2, stderr);
				assert.equal(stdout, "");
				assert.match(stderr, /^userns: [^\n]*\nhint: [^\n]*\n$/);
				assert.match(stderr, message);
			}
			const file = userns("overlay", "--map", MAP, "--lower", join(one, "both"), "--lower", two, target);
			assert.equal(file.status, 1);
			assert.match(
				file.stderr,
				/^userns: cannot mount an overlay of [^\n]*\/both" is not a directory\nhint: /,
			);
			const first = ["--map", MAP, "--lower", one, "--upper", upper, "--work", work];
			ok("overlay", ...first, target);
			const [other = ""] = mkdirs(target, "other");
			const second = userns("overlay", ...first, other);
			assert.equal(second.status, 1);
			// Before Linux 6.13, the mount table has no names of the layers (docs/kernel-features.md).
			const user = olderThan("6.13") === undefined ? `the overlay at "${target}"` : "another overlay, [^\n]*";
			assert.match(second.stderr, new RegExp(`^userns: [^\n]*is in use by ${user}\nhint: [^\n]*\n$`));
			ok("umount", target);
		}),
);

test(
	"mounts --pinned lists pinned user namespaces, and says on standard error if there is none",
	{ needs },
	() =>
		withTmpfs((folder) => {
			const none = userns("mounts", "--pinned");
			assert.deepEqual([none.status, none.stdout, none.stderr], [0, "", "no pinned user namespaces\n"]);
			const empty = userns("mounts", "--pinned", "--json");
			assert.deepEqual([empty.status, empty.stdout, empty.stderr], [0, "[]\n", ""]);
			const path = join(folder, "a name");
			const { inode } = JSON.parse(ok("create", "--map", MAP, "--at", path, "--json"));
			// A namespace of another kind is no user namespace.
			const net = join(folder, "net");
			writeFileSync(net, "");
			sh("mount", "--bind", "/proc/self/ns/net", net);
			assert.deepEqual(JSON.parse(ok("mounts", "--pinned", "--json")), [{ path, inode }]);
			assert.match(ok("mounts", "--pinned"), new RegExp(`^path +inode\n${folder}/a\\\\040name +${inode}\n$`));
			assert.deepEqual(JSON.parse(ok("mounts", "--pinned", "--json", "--pid", `${process.pid}`)), [
				{ path, inode },
			]);
			assert.equal(userns("mounts", "--pinned", "--all").status, 2);
			sh("umount", net);
			ok("umount", path);
		}),
);

test("the help of mount and of umount says which mounts need --recursive, and how umount knows one made with --unmap", () => {
	const [mount, umount] = ["mount", "umount"].map((command) => ok(command, "--help").replaceAll(/\s+/g, " "));
	assert.match(mount ?? "", /made with --recursive needs "userns umount --recursive"/);
	assert.match(umount ?? "", /made with "userns mount --recursive", is unmounted only with --recursive/);
	for (const page of [mount, umount])
		assert.match(page ?? "", /record in \/run\/userns, which is written for root only/);
});
