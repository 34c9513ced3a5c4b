import { type IdKind, showRange } from "../mapping/extent.ts";
import { extents } from "./chain.ts";
import { classOf, hasDiskId, isUnmapped, type Situation } from "./situation.ts";

/** A fix that is no command starts with it. */
export const CHOICE = "choose a ";

/** The commands with which a refused operation would be allowed, for root of the host. */
export class Fixes {
	readonly #s: Situation;

	constructor(situation: Situation) {
		this.#s = situation;
	}

	/**
	 * A mount on which the owner of the file is visible as the process, so that the bits of the owner count. Its TARGET is left to the
	 * reader.
	 */
	mount(bits: number): string | undefined {
		const { uid, gid, subject, mount, answer } = this.#s;
		if (uid.disk === undefined || gid.disk === undefined) return undefined;
		const map = `u:${uid.disk}:${subject.host.uid}:1,g:${gid.disk}:${subject.host.gid}:1`;
		const nested = mount.mapping === undefined ? "" : " --nested replace";
		// The mode of a file whose owner the mount does not map can be changed only through the new mount.
		const missing = letters(bits & ~(answer.file.mode >> 6));
		const mode = missing === "" ? "" : ` && chmod u+${missing} TARGET`;
		return `userns mount --map ${map}${nested} ${this.word()} TARGET${mode}`;
	}

	/** Permission for the process. An ID that the mount does not show cannot be in an ACL, nor can a file without a mapped owner get one. */
	permit(bits: number): string | undefined {
		const { subject, uid, answer } = this.#s;
		if (classOf(this.#s).shift === 6) return `chmod u+${letters(bits)} ${this.word()}`;
		const owned = ((answer.file.mode >> 6) & bits) === bits;
		const byOwner = isUnmapped(this.#s) || (owned && uid.lost !== undefined);
		if (byOwner || !hasDiskId(this.#s, "uid", subject.host.uid)) return this.mount(bits);
		// An entry for the user replaces what the group and the others have, so it also has what the process may do already.
		const { read, write, execute } = answer;
		const kept = (read === 0 ? 4 : 0) | (write === 0 ? 2 : 0) | (execute === 0 ? 1 : 0);
		return `setfacl -m u:${subject.host.uid}:${letters(bits | kept)} ${this.word()}`;
	}

	search(part: string): string {
		return this.#access(part, "x");
	}

	/** Writing and searching the directory of the file. */
	directory(): string {
		// The kernel was not asked whether the process may list it. Some mode bit says so if it may.
		const listed = (this.#s.answer.directory.mode & 0o444) !== 0;
		return this.#access(this.#s.path, listed ? "rwx" : "wx");
	}

	#access(below: string, mode: string): string {
		return `setfacl -m u:${this.#s.subject.host.uid}:${mode} ${word(directoryOf(below))}`;
	}

	flag(flag: string): string {
		return `chattr -${flag} ${this.word()}`;
	}

	directoryFlag(flag: string): string {
		return `chattr -${flag} ${word(directoryOf(this.#s.path))}`;
	}

	remount(option: string): string {
		const { options, mountPoint } = this.#s.mount;
		const bind = option !== "rw" || options.includes("ro") ? "bind," : "";
		return `mount -o remount,${bind}${option} ${word(mountPoint)}`;
	}

	/** As root of the host, whose CAP_CHOWN counts. */
	chown(target: { uid: number | undefined; gid: number | undefined }): string | undefined {
		if (this.#s.subject.initial && this.#s.subject.uid === 0) return undefined;
		const kinds = ["uid", "gid"] as const;
		const shown = kinds.every((kind) => target[kind] === undefined || hasDiskId(this.#s, kind, target[kind]));
		return shown ? `${chownWords(target)} ${this.word()}` : undefined;
	}

	/** The IDs that chown may be given. */
	choices(kind: IdKind, at: "mount" | "namespace"): string | undefined {
		const { mount, subject } = this.#s;
		const mapping = at === "mount" ? mount.mapping : subject.namespace;
		if (typeof mapping !== "object") return undefined;
		const column = at === "mount" ? "hostID" : "containerID";
		const ranges = extents(mapping, kind)
			.slice(0, 4)
			.map((extent) => showRange(extent[column], extent.size));
		const where = at === "mount" ? "that the mount shows on the host" : "of the user namespace";
		return `${CHOICE}${kind} ${where}: ${ranges.join(", ")}`;
	}

	word(): string {
		return word(this.#s.path);
	}
}

/** `chown UID:GID` without the ID that is not changed. */
export function chownWords({ uid, gid }: Situation["subject"]["chownTo"]): string {
	return `chown ${uid ?? ""}${gid === undefined ? "" : `:${gid}`}`;
}

function letters(bits: number): string {
	return ["x", "w", "r"]
		.filter((_, i) => ((bits >> i) & 1) === 1)
		.reverse()
		.join("");
}

function directoryOf(path: string): string {
	return path.replace(/\/[^/]*$/, "") || "/";
}

/** A path as a word of a shell command. */
function word(path: string): string {
	return /^[\w./@%+,:=-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
