import { invalidMapping } from "../../errors.ts";
import { type Extents, findContainer, type IdKind, type IdMap } from "../extent.ts";
import { type ParsedMaps, Scanner } from "./scanner.ts";

const HINT =
	'Write "idmap=uids=disk-visible-length#…;gids=…", or "idmap" alone for the container\'s own mapping.';

/** The mapping of the container, for the kinds and IDs that the option refers to it. */
export interface ContainerMaps {
	uid: Extents;
	gid: Extents;
}

/**
 * Parses the mount option idmap or ridmap of podman and crun: `idmap=uids=T#T;gids=T`, where T is `[@]disk-visible-length`. A kind
 * that is left out has the mapping of the container, as in podman; crun leaves it empty. `idmap` alone leaves out both. With `@`,
 * the second number is a container ID, and the mapping of the container gives its host ID.
 */
export function parsePodmanIdmap(text: string, container: ContainerMaps | undefined): ParsedMaps {
	const scanner = new Scanner("podman-idmap", text, HINT);
	if (!scanner.take("idmap") && !scanner.take("ridmap")) throw scanner.expected("idmap or ridmap");
	const found: Partial<Record<IdKind, IdMap[]>> = Object.create(null);
	if (!scanner.done) {
		scanner.expect("=", "idmap");
		for (;;) {
			const at = scanner.at;
			const word = scanner.takeOne(["uids=", "gids="]);
			if (word === undefined) throw scanner.expected('"uids=" or "gids="');
			const kind: IdKind = word === "uids=" ? "uid" : "gid";
			if (found[kind] !== undefined) throw scanner.wrong(`${word} occurs twice`, at);
			found[kind] = scanList(scanner, kind, container);
			if (scanner.done) break;
			scanner.expect(";", "the extents");
		}
	}
	const inherit = (kind: IdKind) => {
		if (container !== undefined) return container[kind].map((extent) => ({ ...extent }));
		throw scanner.wrong(
			`the ${kind}s come from the container's mapping, which was not given`,
			0,
			"Give the container's mapping, { container: … }, or both uids and gids.",
		);
	};
	return { uid: found.uid ?? inherit("uid"), gid: found.gid ?? inherit("gid") };
}

function scanList(scanner: Scanner, kind: IdKind, container: ContainerMaps | undefined): IdMap[] {
	const extents: IdMap[] = [];
	do {
		const start = scanner.at;
		const relative = scanner.take("@");
		const containerID = scanner.number("the ID on disk");
		scanner.expect("-", "the ID on disk");
		const hostID = scanner.number("the visible ID");
		scanner.expect("-", "the visible ID");
		const size = scanner.number("the length");
		const extent = { containerID, hostID, size };
		const moved = relative ? moveByContainer(scanner, kind, extent, start, container) : extent;
		extents.push(scanner.check(moved, start));
		scanner.extent++;
	} while (scanner.take("#"));
	return extents;
}

function moveByContainer(
	scanner: Scanner,
	kind: IdKind,
	extent: IdMap,
	at: number,
	container: ContainerMaps | undefined,
): IdMap {
	if (container === undefined) {
		throw scanner.wrong("@ refers to the container's mapping, which was not given", at);
	}
	const find = (id: number) => {
		const found = findContainer(container[kind], id);
		if (found === undefined) throw scanner.wrong(`the container's mapping has no ${kind} ${id}`, at);
		return found;
	};
	const around = find(extent.hostID);
	// podman and crun do not check the end. The IDs after it may belong to another user.
	const end = extent.hostID + extent.size;
	if (end > around.containerID + around.size) {
		// The first ID that the container does not map is the cause, if there is one.
		for (let id = around.containerID + around.size; id < end; ) {
			const next = find(id);
			id = next.containerID + next.size;
		}
		throw scanner.wrong(
			`the ${kind}s ${extent.hostID}–${end - 1} span more than one extent of the container's mapping`,
			at,
			"Write one entry for each of the container's extents.",
		);
	}
	return { ...extent, hostID: extent.hostID + around.hostID - around.containerID };
}

export function printPodmanIdmap(uid: Extents, gid: Extents): string {
	if (uid.length === 0 || gid.length === 0) {
		throw invalidMapping(
			"the podman-idmap syntax cannot express a mapping of one kind: podman takes the other kind from the container's mapping",
			"Map the other kind too, or print the mapping as colon.",
		);
	}
	const list = (extents: Extents) =>
		extents.map(({ containerID, hostID, size }) => `${containerID}-${hostID}-${size}`).join("#");
	return `idmap=uids=${list(uid)};gids=${list(gid)}`;
}
