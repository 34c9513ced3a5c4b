import { findId, findUser, type Owner, UsernsError } from "../index.ts";

/** Reads USER[:GROUP]: names of this machine or numbers; with `inContainer`, two numbers of the container. */
export function readOwner(text: string, inContainer: boolean): Owner {
	const [user = "", group, more] = text.split(":");
	if (user === "" || group === "" || more !== undefined) {
		throw refused(text, "it is not USER or USER:GROUP", "Write names or numbers, such as --owner 1000:1000.");
	}
	if (inContainer && !(isNumber(user) && group !== undefined && isNumber(group))) {
		throw refused(
			text,
			"with --into it must have two numbers, because names are those of this machine",
			"Give a uid and a gid of the container: --owner 0:0 is its root.",
		);
	}
	const uid = isNumber(user) ? Number(user) : findUser(user).uid;
	return { uid, gid: group === undefined ? findUser(isNumber(user) ? uid : user).gid : groupId(text, group) };
}

function isNumber(text: string): boolean {
	return /^\d{1,10}$/.test(text);
}

function groupId(text: string, group: string): number {
	const gid = isNumber(group) ? Number(group) : findId(group, "gid");
	if (gid !== undefined) return gid;
	throw refused(
		text,
		`there is no group ${JSON.stringify(group)} on this machine`,
		'Name a group that "getent group" lists, or give its number.',
	);
}

function refused(text: string, why: string, hint: string): UsernsError {
	return new UsernsError("ERR_USERNS_INVALID_ARGUMENT", `--owner ${text}: ${why}`, { hint });
}
