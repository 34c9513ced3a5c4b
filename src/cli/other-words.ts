/*
 * The words of mount(8), umount(8), unshare(1), nsenter(1) and podman(1) for which this command has others. A row is the
 * unknown words, and the word of this command or a sentence, which becomes the hint. The word "" stands for no words.
 */
type Rows = readonly (readonly [unknown: string, own: string])[];

const NEEDLESS = "Leave it out: it has no effect here.";
const NO_LAZY = "End the programs that use the mount: there is no lazy unmount.";
const MOUNTS = '"userns mounts" lists mounts, with --all those without a map too.';
const SHOW_PID = 'Write the pid without an option: "userns show PID".';

const MAPS: Rows = [
	["--map-user --map-users --uidmap", "--map u:containerID:hostID:size"],
	["--map-group --map-groups --gidmap", "--map g:containerID:hostID:size"],
	["--idmap", "--map"],
];

const OTHER_WORDS: Readonly<Record<string, Rows>> = {
	userns: [
		["findmnt", "mounts"],
		["list lsns", "ls"],
		["bind idmap", "mount"],
		["unmount detach unpin rm remove delete", "umount"],
		["run unshare spawn start shell", "exec"],
		["nsenter enter join", "exec --in"],
		["new add pin", "create"],
		["info inspect status", "show"],
		["test probe", "supports"],
		["compile", "build"],
		["-v", "--version"],
		...["convert", "invert", "compose", "intersect", "subtract", "union", "translate", "check", "draw"].map(
			(name) => [name, `map ${name}`] as const,
		),
	],
	"userns map": [
		["show print svg plot", "draw"],
		["parse format to from", "convert"],
		["validate verify test", "check"],
		["inverse reverse", "invert"],
		["merge add join", "union"],
		["diff difference remove", "subtract"],
		["intersection", "intersect"],
		["chain apply", "compose"],
		["lookup resolve", "translate"],
	],
	"userns mount": [
		...MAPS,
		["-o --options", 'Write "--map MAP" for "-o X-mount.idmap=MAP", and "--read-only" for "-o ro".'],
		["-B --bind", 'Leave it out: "userns mount" mounts a directory or file, as "mount --bind" does.'],
		["-R --rbind", "--recursive"],
		["-t --types", "Leave it out: the mount has the type of the source."],
		["-r --ro --readonly", "--read-only"],
		["-w --rw --read-write", "Leave it out: a mount without --read-only is writable."],
		["-a -l --all --list", MOUNTS],
		["", MOUNTS],
		["-m --mkdir", 'Create the target first: "mkdir TARGET".'],
		["-N --namespace", "--into"],
		["--source --target", 'Write the paths without an option: "userns mount --map MAP SOURCE TARGET".'],
		...["private", "shared", "slave", "unbindable"].map(
			(type) => [`--make-${type} --make-r${type}`, `--propagation ${type}`] as const,
		),
	],
	"userns umount": [
		["-R -r", "--recursive"],
		["-N --namespace", "--into"],
		["-l --lazy", NO_LAZY],
		["-f --force -t --types", NEEDLESS],
	],
	"userns mounts": [
		["-a", "--all"],
		["-p -N --task", "--pid"],
		["-J", "--json"],
		["-l --list", NEEDLESS],
		["-u --notruncate --no-trunc --full", "--wide"],
	],
	"userns show": [
		["-p --pid -t --target", SHOW_PID],
		["-J", "--json"],
	],
	"userns create": [
		...MAPS,
		["-r --map-root-user --map-auto --userns", "--map"],
		["--path --pin", "--at"],
		["-U", "Leave it out: every namespace that the command creates is a user namespace."],
	],
	"userns exec": [
		...MAPS,
		["-r --map-root-user --map-auto", "--map auto"],
		["-c --map-current-user", "--map keep-id"],
		["--userns", "--map"],
		["-t --target", "--in"],
		["-U", "Leave it out: --map creates a user namespace, and --in enters one."],
		["-m --mount", "--unshare mount"],
		["-p --pid", "--unshare pid"],
		["-n --net", "--unshare net"],
		["-i --ipc", "--unshare ipc"],
		["-u --uts", "--unshare uts"],
		["-C --cgroup", "--unshare cgroup"],
		["-T --time", "--unshare time"],
		["-S --setuid", "--uid"],
		["-G --setgid", "--gid"],
		["-f --fork --kill-child --preserve-credentials", NEEDLESS],
		["--mount-proc", 'Use "--unshare mount,pid", and let the program call "mount -t proc proc /proc".'],
	],
};

/** The letters of `-Urm` as the options of this command: `--map auto --unshare mount`. */
function letters(own: (word: string) => string | undefined, cluster: string): string | undefined {
	const found = [...cluster.slice(1)].map((letter) => own(`-${letter}`));
	if (found.length < 2 || found.includes(undefined)) return undefined;
	const options = found.filter((word) => word?.startsWith("--")).join(" ");
	// One --unshare has all kinds.
	const kinds = [...options.matchAll(/--unshare (\S+)/g)].map(([, kind]) => kind);
	const others = options.replaceAll(/ ?--unshare \S+/g, "").trim();
	return [others, kinds.length > 0 ? `--unshare ${kinds.join(",")}` : ""].join(" ").trim() || undefined;
}

/** What the command has for an unknown word: a word of its own, or a sentence. Undefined for a word that is in no row. */
export function otherWord(path: string, unknown: string): string | undefined {
	const rows = Object.hasOwn(OTHER_WORDS, path) ? OTHER_WORDS[path] : undefined;
	const own = (word: string) => rows?.find(([words]) => words.split(" ").includes(word))?.[1];
	const name = unknown.replace(/=.*$/s, "");
	const [letter] = /^-\w/.exec(name) ?? [];
	return own(name) ?? letters(own, name) ?? (letter === undefined ? undefined : own(letter));
}
