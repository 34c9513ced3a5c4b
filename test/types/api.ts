// The public types, as a program uses them. The build compiles this file and no test runs it: a line that must not
// compile is marked, and a wrong mark fails the build.
import type { ChildProcess } from "node:child_process";
import {
	type Access,
	type Account,
	type AttributeOptions,
	type BestMapping,
	type Diagnosis,
	doctor,
	type Explanation,
	explain,
	explainError,
	type FoundCause,
	findId,
	findUser,
	fromOci,
	Handles,
	type HeldMount,
	type IdmappedMount,
	type IdRange,
	type LostOwner,
	list,
	Mapping,
	type MappingInput,
	type MappingSyntax,
	type MountIdmappedOptions,
	mountIdmapped,
	mounts,
	type NamespaceHandle,
	type NamespaceHolder,
	type NamespaceList,
	OverlayMount,
	type Owner,
	type OwnerChain,
	overlay,
	type PathOptions,
	pin,
	pinAsync,
	supports,
	UserNamespace,
	UsernsError,
	type UsernsErrorCode,
	unmount,
	unmountAsync,
	type Verdict,
} from "../../src/index.ts";

export async function compiles(): Promise<void> {
	const input: MappingInput = { uidMappings: [{ containerID: 0, hostID: 1, size: 1 }], gidMappings: [] };
	// The linux object of an OCI config.json.
	const linux = { uidMappings: [{ containerID: 0, hostID: 1, size: 1 }], namespaces: [{ type: "user" }] };
	const mapping: Mapping = Mapping.from(linux);
	const handles: Disposable = new Handles();
	const namespace: UserNamespace = await new Handles().get(input, {
		setgroups: "allow",
		signal: AbortSignal.timeout(1),
	});
	const id: bigint | undefined = namespace.id;
	const mount: IdmappedMount = await mountIdmapped({ source: 3, userns: namespace, atime: "noatime" });
	const disposable: AsyncDisposable = mount;
	const child: ChildProcess = namespace.spawn("id", ["-u"], {
		uid: 5,
		groups: [1],
		unshare: ["pid"],
		stdio: "inherit",
	});
	const short: ChildProcess = namespace.spawn("id", { cwd: "/", detached: true });
	const detected: { mapping: Mapping; syntax: MappingSyntax } = Mapping.detect("0:1:1", { names: findId });
	Mapping.parse("u:alice:0:1", "colon", { names: findId, skipOtherLines: false });
	Mapping.rootless({ keepId: { uid: 5, gid: undefined }, size: 9 });
	const { mapping: best, reason }: BestMapping = Mapping.bestFor("alice");
	const why: string | undefined = reason?.hint;
	Mapping.bestFor();
	const owner: Mapping = Mapping.owner({ uid: 1000, gid: 100 }, mapping, {
		uid: 5,
		gid: undefined,
		others: "keep",
	});
	const ranges: IdRange[] = owner.unmapped.uid;
	const rootless: Mapping = Mapping.rootless({ user: 1000, keepId: true });
	await UserNamespace.create(rootless, { method: "newuidmap" });
	pin(namespace, "/run/ns");
	const kind: "idmapped mount" | "user namespace" | "overlay" | "mount without a map" =
		unmount("/run/ns").kind;
	const paths: PathOptions = { targetRoot: 3, resolve: "no-symlinks" };
	const identity: { id: bigint; inode: number } | undefined = namespace.handle;
	const byId: NamespaceHandle = { id: 4711, inode: undefined };
	UserNamespace.open(identity ?? byId).close();
	const listed: NamespaceList = await list({ owner: undefined, pid: undefined });
	const holder: NamespaceHolder | undefined = listed.namespaces[0]?.holders[0];
	void [holder, listed.unseen satisfies string[]];
	await pinAsync(await UserNamespace.openAsync(4711), "/run/ns", paths);
	await unmountAsync("/run/ns", { ...paths, recursive: true });
	await supports("/", paths);
	const diagnosis: Diagnosis = await doctor({ for: "rootless", path: undefined });
	await doctor();
	const causes: readonly FoundCause[] | undefined = new UsernsError("ERR_USERNS_CLOSED", "").causes;
	const line: string | undefined = (await explainError("unshare: unshare failed"))?.causes[0]?.command;
	void [diagnosis.checks[0]?.state === "limited", causes, line];
	const code: UsernsErrorCode = new UsernsError("ERR_USERNS_CLOSED", "").code;
	await mount.attach("/mnt", { into: 4711, replace: true, resolve: "no-symlinks" });
	const layered: HeldMount = await overlay({ lower: ["/a", 3], upper: "/u", work: "/w", mapping: "0:1:1" });
	await overlay({ lower: ["/a", "/b"], userns: namespace });
	await overlay({ lower: "/a", upper: "/u", work: "/w", mapping, keepUpper: true });
	const known: Mapping | undefined = mounts({ idmapped: true, pid: 1 })[0]?.mapping;
	const hint: string | undefined = (await supports("/")).hint;
	const explained: Explanation = await explain("/", {
		in: 1,
		as: { uid: 0, gid: 0, groups: [0] },
		chownTo: "0:0",
	});
	await explain("/", { as: "1000:1000,5", chownTo: undefined });
	const access: Access | undefined = explained.access;
	const verdict: Verdict | undefined = access?.chown;
	const allowed: boolean | null | undefined = verdict?.allowed;
	const chain: OwnerChain = explained.uid;
	const lost: LostOwner | undefined = chain.lost;
	const entry = { destination: "/data", source: "/srv", type: "bind", options: ["idmap"] };
	await mountIdmapped({ ...fromOci(entry, { container: mapping }), targetRoot: 3, nested: "refuse" });
	// Undefined means the same as left out, where leaving it out is safe (exactOptionalPropertyTypes).
	const u = undefined;
	const signal: AbortSignal | undefined = u;
	await new Handles().get(input, { setgroups: u, method: u, signal });
	UserNamespace.createSync(input, { setgroups: u, method: u });
	namespace.spawn("id", [], { uid: u, gid: u, groups: u, unshare: u, env: u, cwd: u, stdio: u, shell: u });
	namespace.exec("id", [], {
		uid: u,
		gid: u,
		groups: u,
		unshare: u,
		env: u,
		argv0: u,
		cwd: u,
		preserveFds: u,
	});
	namespace.exec("id", [], { noNewPrivs: u, groups: "keep", join: { pid: 1, kinds: ["mount", "pid"] } });
	const attributes: AttributeOptions = {
		...{
			readonly: u,
			nosuid: u,
			nodev: u,
			noexec: u,
			nosymfollow: u,
			nodiratime: u,
			atime: u,
			propagation: u,
		},
	};
	const options: MountIdmappedOptions = {
		...{ source: "/", target: u, mapping: u, userns: u, handles: u, recursive: u, recursiveIdmap: u },
		...{ skipUnsupported: u, nested: u, unmap: u, replace: u, owner: u, others: u, ...attributes },
	};
	await mountIdmapped(options);
	const owned: Owner = { uid: 0, gid: 0 };
	const mine = await mountIdmapped({ source: 3, target: "/mnt", into: 4711, owner: owned, others: "keep" });
	const warnings: readonly string[] = mine.warnings;
	await mountIdmapped({ source: 3, target: "/mnt", into: 4711, userns: "container" });
	await mountIdmapped({ source: "/data", from: "/proc/4711/ns/mnt", owner: owned });
	const account: Account = findUser("root");
	await overlay({
		...{ lower: "/a", upper: u, work: u, target: u, mapping: input, handles: u, mapUpper: u, replace: u },
		...{ userns: u, keepUpper: u },
		...attributes,
	});
	await mount.attach("/mnt", { replace: u });
	unmount("/mnt", { recursive: u });
	mounts({ idmapped: u, pid: u });
	fromOci({ ...entry, source: u, type: u, options: u, uidMappings: u, gidMappings: u }, { container: u });
	Mapping.identity({ from: u, size: u });
	Mapping.rootless({ user: u, keepId: u, size: u });
	Mapping.parse("0:1:1", u, {
		parent: u,
		rootless: u,
		container: u,
		user: { name: u, uid: u },
		names: u,
		skipOtherLines: u,
	});
	void [
		child,
		short,
		mapping.id,
		handles,
		id,
		disposable,
		kind,
		code,
		layered,
		known,
		hint,
		allowed,
		lost,
		detected,
		ranges,
		warnings,
		account,
		best,
		why,
	];
}

export async function mustNotCompile(namespace: UserNamespace, mapping: Mapping): Promise<void> {
	// @ts-expect-error the extents are frozen
	mapping.uidMappings.push({ containerID: 0, hostID: 0, size: 1 });
	// @ts-expect-error and so are their numbers
	(mapping.uidMappings[0] as (typeof mapping.uidMappings)[number]).size = 2;
	// @ts-expect-error numbers are no texts
	Mapping.from({ uidMappings: [{ containerID: "0", hostID: 0, size: 1 }] });
	// @ts-expect-error a namespace is made by create() or open()
	new UserNamespace(3);
	// @ts-expect-error setgroups has two words
	await UserNamespace.create(mapping, { setgroups: "maybe" });
	// @ts-expect-error and a method is one of three
	await UserNamespace.create(mapping, { method: "sudo" });
	// @ts-expect-error unshare has no user namespace
	namespace.spawn("id", [], { unshare: ["user"] });
	// @ts-expect-error join needs a pid
	namespace.spawn("id", [], { join: { kinds: "all" } });
	// @ts-expect-error an undefined join must not mean the namespaces of this process
	namespace.spawn("id", [], { join: undefined });
	// @ts-expect-error an undefined pid must not mean the view of this process
	await explain("/", { in: undefined });
	// @ts-expect-error exec has no stdio: the program gets this process's streams
	namespace.exec("id", [], { stdio: "inherit" });
	// @ts-expect-error creation on the calling thread cannot be aborted
	UserNamespace.createSync(mapping, { signal: AbortSignal.timeout(1) });
	// @ts-expect-error a source is needed
	await mountIdmapped({ mapping });
	// @ts-expect-error nested has three words
	await mountIdmapped({ source: "/", mapping, nested: "stack" });
	// @ts-expect-error the pid of a child that failed to start is undefined, which must not mean the host
	await mountIdmapped({ source: "/", target: "/mnt", mapping, into: namespace.spawn("id").pid });
	// @ts-expect-error likewise
	await mountIdmapped({ source: "/", from: undefined, mapping });
	// @ts-expect-error likewise
	unmount("/mnt", { into: undefined });
	// @ts-expect-error an undefined root directory must not mean the host's
	await overlay({ lower: "/a", upper: "/u", work: "/w", mapping, target: "/mnt", targetRoot: undefined });
	// @ts-expect-error an undefined resolve must not decide whether links are followed
	await mountIdmapped({ source: "/", target: "/mnt", mapping, resolve: undefined });
	// @ts-expect-error a mount is made by mountIdmapped() or overlay()
	new OverlayMount({}, mapping);
	// @ts-expect-error the descriptor belongs to the namespace
	namespace.fd = 3;
}
