import { invalidMapping } from "../../errors.ts";
import { type Extents, findContainer, type IdKind, type IdMap } from "../extent.ts";
import { type ParsedMaps, Scanner } from "./scanner.ts";

const HINT =
	'Write "idmap=uids=disk-visible-length#…;gids=…", or "idmap" alone for the container\'s own mapping.';

/** The container's own mapping, for what the option leaves to it. */
export interface ContainerMaps {
	uid: Extents;
	gid: Extents;
}

/**
 * The mount option idmap or ridmap of podman and crun: `idmap=uids=T#T;gids=T`, T being `[@]disk-visible-length`. Alone
 * it means the container's mapping, which a kind that is left out inherits too (as in podman; crun leaves it empty).
 * With `@` the second number is a container ID, and counts as where the container's mapping puts that.
 */
export function parsePodmanIdmap(text: string, container: ContainerMaps | undefined): ParsedMaps {
	const scanner = new Scanner("podman-idmap", text, HINT);
	if (!scanner.take("idmap") && !scanner.take("ridmap")) throw scanner.expected("idmap or ridmap");
	const found: Partial<Record<IdKind, IdMap[]>> = {};
	if (!scanner.done) {
		scanner.expect("=", "idmap");
		for (;;) {
			const at = scanner.at;
			const word = scanner.takeOne(["uids=", "gids="]);
			if (word === undefined) throw scanner.expected('"uids=" or "gids="');
			const kind: IdKind = word === "uids=" ? "uid" : "gid";
			if (found[kind] !== undefined) throw scanner.wrong(`${word} stands twice`, at);
			found[kind] = scanList(scanner, kind, container);
			if (scanner.done) break;
			scanner.expect(";", "the extents");
		}
	}
	const inherit = (kind: IdKind) => {
		if (container !== undefined) return container[kind].map((extent) => ({ ...extent }));
		throw scanner.wrong(
			`the ${kind}s are left to the container's mapping, and nobody said what that is`,
			0,
			"Give the container's mapping as context, or both uids and gids.",
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
		throw scanner.wrong("@ counts in the container's mapping, and nobody said what that is", at);
	}
	const around = findContainer(container[kind], extent.hostID);
	if (around === undefined) {
		throw scanner.wrong(`the container's mapping has no ${kind} ${extent.hostID}`, at);
	}
	// Neither podman nor crun looks at the end; IDs past it would be those of somebody else.
	if (extent.hostID + extent.size > around.containerID + around.size) {
		throw scanner.wrong(
			`the ${kind}s ${extent.hostID}–${extent.hostID + extent.size - 1} span more than one extent of the container's mapping`,
			at,
			"Write one entry for each of the container's extents.",
		);
	}
	return { ...extent, hostID: extent.hostID + around.hostID - around.containerID };
}

export function printPodmanIdmap(uid: Extents, gid: Extents): string {
	if (uid.length === 0 || gid.length === 0) {
		throw invalidMapping(
			"the podman-idmap syntax cannot express a mapping of one kind only: what is left out is the container's",
			"Map the other kind too, or print it as colon.",
		);
	}
	const list = (extents: Extents) =>
		extents.map(({ containerID, hostID, size }) => `${containerID}-${hostID}-${size}`).join("#");
	return `idmap=uids=${list(uid)};gids=${list(gid)}`;
}
