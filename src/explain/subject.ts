import { invalidArgument, show } from "../errors.ts";
import { MAX_ID } from "../mapping/extent.ts";
import { Mapping } from "../mapping/mapping.ts";
import { enterRequest } from "../namespace/enter-request.ts";
import type { NamespaceMaps } from "../namespace/read-maps.ts";
import { readText, STATUS, statusField } from "../native/process-status.ts";
import { copyOptions, ownCopy } from "../options.ts";
import { ownExtents } from "../subid/own-extents.ts";
import { findUser, loginGroups } from "../subid/users.ts";
import type { Subject } from "./situation.ts";
import type { View } from "./view.ts";

/** The IDs of a process, in its user namespace. */
export interface ExplainAs {
	uid: number;
	/** Default: the number of the uid. */
	gid?: number | undefined;
	/** The supplementary groups. Default: none. */
	groups?: readonly number[] | undefined;
}

/** Every capability. */
const ALL = (1n << 64n) - 1n;

/** Parses USER[:GROUP][,GROUPS]. A name is a user of this machine, and GROUPS defaults to that user's groups. */
function parseAs(text: string, inside: boolean): ExplainAs {
	const [, user = "", group, list = ""] = /^([^:,]+)(?::([^:,]+))?((?:,[^:,]+)*)$/.exec(text) ?? [];
	if (user === "") {
		throw invalidArgument(`explain: the IDs must be USER[:GROUP][,GROUPS], not ${show(text)}`);
	}
	const id = (word: string) => {
		if (/^\d{1,10}$/.test(word)) return Number(word);
		throw invalidArgument(`explain: the group ${show(word)} must be a gid`);
	};
	const groups = list.split(",").filter(Boolean).map(id);
	if (/^\d{1,10}$/.test(user))
		return { uid: Number(user), gid: group === undefined ? Number(user) : id(group), groups };
	if (inside) {
		throw invalidArgument(
			`explain: the user ${show(user)} must be a uid`,
			"Name a uid: the names in another user namespace may be those of another machine.",
		);
	}
	const { uid, gid } = findUser(user);
	return {
		uid,
		gid: group === undefined ? gid : id(group),
		groups: list === "" ? loginGroups(user) : groups,
	};
}

export function checkAs(as: unknown, inside: boolean): ExplainAs {
	if (typeof as === "string") return parseAs(as, inside);
	if (typeof as !== "object" || as === null) {
		throw invalidArgument(
			`explain: the IDs must be a text or an object with uid, gid and groups, not ${show(as)}`,
		);
	}
	return copyOptions<ExplainAs>("explain: as", as, ["uid", "gid", "groups"]);
}

/** Parses UID[:GID], with an empty part for an ID that is not changed. */
export function checkChownTo(text: unknown): Subject["chownTo"] {
	const match = typeof text === "string" ? /^(\d{1,10})?(?::(\d{1,10})?)?$/.exec(text) : null;
	const [uid, gid] = [match?.[1], match?.[2]].map((part) => (part === undefined ? undefined : Number(part)));
	if (match === null || (uid ?? 0) > MAX_ID || (gid ?? 0) > MAX_ID || (uid ?? gid) === undefined) {
		throw invalidArgument(`explain: chownTo must be UID, UID:GID or :GID, not ${show(text)}`);
	}
	return { uid, gid };
}

/** The maps of the user namespace of this process. */
function ownMaps(): NamespaceMaps {
	const text = (kind: "uid" | "gid") =>
		(ownExtents(kind) ?? [{ containerID: 0, hostID: 0, size: MAX_ID + 1 }])
			.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`)
			.join("");
	const setgroups = readText("/proc/self/setgroups") === "deny" ? "deny" : "allow";
	return { mapping: Mapping.fromProc(text("uid"), text("gid")), setgroups };
}

/** The IDs, and whether they are those of this process, which it need not change. */
export function subjectOf(
	as: ExplainAs,
	chownTo: Subject["chownTo"] | undefined,
	view: View | undefined,
	initial: boolean,
): { subject: Subject; groups: readonly number[] | undefined; isSelf: boolean; kept: bigint } {
	const { uid, gid = uid, groups: given } = as;
	const inside = view?.maps !== undefined;
	const isSelf =
		!inside && uid === process.geteuid?.() && gid === process.getegid?.() && (given ?? []).length === 0;
	const maps = view?.maps ?? ownMaps();
	const list = given === undefined || given.length === 0 ? undefined : given;
	const request = enterRequest("explain", ownCopy({ uid, gid, groups: list }), { fd: -1, maps });
	const groups = request.groups as readonly number[] | undefined;
	const outside = (id: number, kind: "uid" | "gid") =>
		inside ? ((kind === "uid" ? maps.mapping.uidToHost(id) : maps.mapping.gidToHost(id)) as number) : id;
	const status = readText(STATUS);
	const set = (name: string) => BigInt(`0x${statusField(status, name) ?? "0"}`);
	const kept = isSelf ? ALL : request.uid !== 0 ? 0n : (view?.bounding ?? set("CapBnd"));
	const own = isSelf ? (process.getgroups?.() ?? []) : [];
	const ids = isSelf ? own : (groups ?? []);
	return {
		subject: {
			uid: request.uid,
			gid: request.gid,
			groups: ids,
			host: {
				uid: outside(request.uid, "uid"),
				gid: outside(request.gid, "gid"),
				groups: ids.map((id) => outside(id, "gid")),
			},
			capabilities: isSelf ? set("CapEff") : inside ? kept : kept & set("CapEff"),
			namespace: view?.maps?.mapping,
			initial: initial && !inside,
			chownTo: chownTo ?? { uid: request.uid, gid: request.gid },
		},
		groups,
		isSelf,
		kept,
	};
}
