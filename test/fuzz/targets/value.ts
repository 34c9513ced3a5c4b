import { UserNamespace } from "../../../src/index.ts";

/** Keys that options have, and some that every object has. */
const KEYS = [
	..."source target mapping userns handles nested recursive recursiveIdmap skipUnsupported unmap replace into".split(
		" ",
	),
	..."targetRoot resolve readonly nosuid nodev noexec nosymfollow nodiratime atime propagation lower upper work".split(
		" ",
	),
	..."mapUpper setgroups method signal uid gid groups unshare env argv0 cwd shell stdio from to size pid idmapped".split(
		" ",
	),
	..."uidMappings gidMappings containerID hostID keepId user parent rootless container name length".split(
		" ",
	),
	..."__proto__ constructor toString valueOf toJSON then 0".split(" "),
];

const SCALARS: readonly unknown[] = [
	...[
		undefined,
		null,
		true,
		false,
		Number.NaN,
		-0,
		0,
		1,
		-1,
		1.5,
		65536,
		2 ** 31,
		2 ** 32 - 1,
		2 ** 32,
		2 ** 53,
		1e300,
	],
	...[
		Number.POSITIVE_INFINITY,
		0n,
		1n,
		-1n,
		2n ** 64n,
		Symbol("s"),
		Symbol.iterator,
		() => 1,
		class {},
		new Date(0),
	],
	...[
		"",
		"/",
		"/a",
		"a\0b",
		"0:100000:65536",
		"u:0:0:1",
		"deny",
		"allow",
		"auto",
		"direct",
		"newuidmap",
		"private",
	],
	...[
		"compose",
		"replace",
		"refuse",
		"no-symlinks",
		"noatime",
		"mount",
		"pid",
		"net",
		"sh",
		"x".repeat(4096),
		"\ud800",
	],
	...[
		new URL("file:///tmp"),
		new URL("https://example.org/"),
		new AbortController().signal,
		Object.create(null),
		/x/,
	],
	...[
		new Uint8Array(4),
		new Map([["a", 1]]),
		new Proxy({}, {}),
		new Proxy([], {}),
		Object.create(UserNamespace.prototype),
	],
];

const DEEPEST = 6;

/** A JavaScript value that these bytes encode, including values that JSON cannot express. */
export function toValue(bytes: Uint8Array): unknown {
	let at = 0;
	const next = () => bytes[at++] ?? 0;
	const value = (depth: number): unknown => {
		const kind = next();
		if (depth === DEEPEST || kind < 160) return SCALARS[next() % SCALARS.length];
		const length = next() % 8;
		if (kind < 200) return Array.from({ length }, () => value(depth + 1));
		if (kind < 206) return new Array(length);
		if (kind < 214) return { containerID: next(), hostID: next() * 1000, size: next() };
		const object: Record<string, unknown> = {};
		for (let i = 0; i < length; i++) {
			const key = KEYS[next() % KEYS.length] as string;
			Object.defineProperty(object, key, {
				value: value(depth + 1),
				enumerable: true,
				configurable: true,
				writable: true,
			});
		}
		return object;
	};
	return value(0);
}
