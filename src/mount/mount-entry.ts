/** A mount: the fields of a line of /proc/self/mountinfo that this package uses. See proc_pid_mountinfo(5). */
export interface MountEntry {
	readonly id: number;
	readonly parent: number;
	readonly device: string;
	readonly root: string;
	readonly mountPoint: string;
	/** Mount options, such as `ro`, `nosuid` and, since Linux 5.12, `idmapped`. */
	readonly options: readonly string[];
	readonly fsType: string;
	/** The source, in the words of the file system. */
	readonly source: string;
	/** Whether it is unbindable: it cannot be copied, and a recursive copy leaves out it and the mounts below it. */
	readonly unbindable: boolean;
	/** Whether it is shared: each mount on it is propagated to its peers. */
	readonly shared: boolean;
}

/** Splits pieces of a table into lines, and makes an entry of each line that describes a mount. */
export class Lines {
	#rest: Buffer[] = [];

	take(piece: Buffer): MountEntry[] {
		const entries: MountEntry[] = [];
		let start = 0;
		for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, start)) {
			this.#add(entries, piece.subarray(start, end));
			start = end + 1;
		}
		if (start < piece.length) this.#rest.push(piece.subarray(start));
		return entries;
	}

	#add(entries: MountEntry[], end: Buffer): void {
		let line = end;
		if (this.#rest.length > 0) {
			line = Buffer.concat([...this.#rest, end]);
			this.#rest = [];
		}
		// Any other line is the rest of one whose file system options contain a newline, and describes no mount.
		const head = /^(\d{1,10}) (\d{1,10}) /.exec(line.toString("latin1", 0, HEAD_BYTES));
		if (head !== null) entries.push(new TableEntry(Number(head[1]), Number(head[2]), line));
	}
}

const NEWLINE = 0x0a;
const BACKSLASH = 0x5c;
const BLANK = 0x20;
const COMMA = 0x2c;
/** Two numbers of at most ten digits, each followed by a blank. */
const HEAD_BYTES = 22;

/**
 * A line whose fields, except the two numbers, are decoded on first use: the program that makes the mounts controls the
 * length of the lines, and most callers need the paths of only a few mounts.
 */
class TableEntry implements MountEntry {
	readonly id: number;
	readonly parent: number;
	readonly #line: Buffer;
	#blanks: number[] | undefined;
	#mountPoint: string | undefined;

	constructor(id: number, parent: number, line: Buffer) {
		this.id = id;
		this.parent = parent;
		this.#line = line;
	}

	/** The end of the first six fields. */
	#ends(): number[] {
		if (this.#blanks === undefined) {
			this.#blanks = [];
			for (let i = 0, at = -1; i < FIELDS; i++) {
				at = endOf(this.#line, at + 1);
				this.#blanks.push(at);
			}
		}
		return this.#blanks;
	}

	#field(index: number): string {
		const ends = this.#ends();
		return decode(this.#line.subarray((ends[index - 1] as number) + 1, ends[index]));
	}

	/** The position of the blank before the separator "-", which follows any number of optional fields; or −1. */
	#dash(): number {
		const line = this.#line;
		const options = this.#ends()[FIELDS - 1] as number;
		const dash = line.indexOf(" - ", options);
		if (dash >= 0) return dash;
		return line.length - 2 >= options && line.subarray(-2).equals(DASH) ? line.length - 2 : -1;
	}

	/** The fields after the separator. */
	#behind(index: number): string {
		const dash = this.#dash();
		if (dash < 0) return "";
		let start = dash + 3;
		for (let i = 0; i < index; i++) start = endOf(this.#line, start) + 1;
		return decode(this.#line.subarray(start, endOf(this.#line, start)));
	}

	get device(): string {
		return this.#field(2);
	}

	get root(): string {
		return this.#field(3);
	}

	get mountPoint(): string {
		this.#mountPoint ??= this.#field(4);
		return this.#mountPoint;
	}

	get options(): readonly string[] {
		return this.#field(5).split(",");
	}

	get fsType(): string {
		return this.#behind(0);
	}

	get source(): string {
		return this.#behind(1);
	}

	/** The options of the file system. The kernel also escapes commas in them. */
	get superOptions(): readonly string[] {
		const dash = this.#dash();
		if (dash < 0) return [];
		let start = dash + 3;
		for (let i = 0; i < 2; i++) start = endOf(this.#line, start) + 1;
		const options: string[] = [];
		for (let end = start; start < this.#line.length; start = end + 1) {
			end = this.#line.indexOf(COMMA, start);
			if (end < 0) end = this.#line.length;
			options.push(decode(this.#line.subarray(start, end)));
		}
		return options;
	}

	#optional(): Buffer {
		return this.#line.subarray(this.#ends()[FIELDS - 1], Math.max(0, this.#dash() + 1));
	}

	get unbindable(): boolean {
		return this.#optional().includes(" unbindable ");
	}

	get shared(): boolean {
		return this.#optional().includes(" shared:");
	}
}

export function isIdmapped(entry: MountEntry): boolean {
	return entry.options.includes("idmapped");
}

/** The file system options of an entry that was read from mountinfo. */
export function superOptionsOf(entry: MountEntry): readonly string[] {
	return entry instanceof TableEntry ? entry.superOptions : [];
}

/** Two numbers, the device, the root, the mount point and the options. */
const FIELDS = 6;
const DASH = Buffer.from(" -");

function endOf(line: Buffer, start: number): number {
	const end = start < line.length ? line.indexOf(BLANK, start) : -1;
	return end < 0 ? line.length : end;
}

/**
 * The kernel writes blank, tab, newline and backslash as three octal digits (mangle_path() in fs/seq_file.c). Decodes
 * byte by byte, because a path can consist of escapes alone.
 */
function decode(field: Buffer): string {
	if (!field.includes(BACKSLASH)) return field.toString();
	const bytes = Buffer.alloc(field.length);
	let length = 0;
	for (let at = 0; at < field.length; at++) {
		const code = field[at] === BACKSLASH ? octal(field, at + 1) : -1;
		if (code < 0) {
			bytes[length++] = field[at] as number;
			continue;
		}
		at += 3;
		if (code < 0x80) bytes[length++] = code;
		else {
			bytes[length++] = 0xc0 | (code >> 6); // a character beyond ASCII, which the kernel never escapes
			bytes[length++] = 0x80 | (code & 0x3f);
		}
	}
	return bytes.toString("utf8", 0, length);
}

/** The number of three octal digits, or −1. */
function octal(bytes: Buffer, at: number): number {
	let code = 0;
	if (at + 3 > bytes.length) return -1;
	for (let i = at; i < at + 3; i++) {
		const digit = (bytes[i] as number) - 0x30;
		if (digit < 0 || digit > 7) return -1;
		code = code * 8 + digit;
	}
	return code;
}

export function parseMountinfo(text: string): MountEntry[] {
	return new Lines().take(Buffer.from(`${text}\n`));
}

/** The mounts on each mount, by its mount ID, in the order of the table. */
export function childrenOf(entries: readonly MountEntry[]): Map<number, MountEntry[]> {
	const children = new Map<number, MountEntry[]>();
	for (const entry of entries) {
		const list = children.get(entry.parent);
		if (list === undefined) children.set(entry.parent, [entry]);
		else list.push(entry);
	}
	return children;
}

/**
 * Every mount below `id`, at any depth, parents first. After a move, a child can come before its parent in the table.
 * Visits each entry once, because a container's table may have 100,000 mounts in any order.
 */
export function descendants(
	entries: readonly MountEntry[],
	id: number,
	children: ReadonlyMap<number, readonly MountEntry[]> = childrenOf(entries),
): MountEntry[] {
	const below: MountEntry[] = [];
	const seen = new Set([id]);
	const take = (parent: number) => {
		for (const entry of children.get(parent) ?? []) {
			if (seen.has(entry.id)) continue;
			seen.add(entry.id);
			below.push(entry);
		}
	};
	take(id);
	for (let i = 0; i < below.length; i++) take((below[i] as MountEntry).id); // the array grows in the loop
	return below;
}
