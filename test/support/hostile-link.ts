import { chownSync, lchownSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { mountIdmapped, UserNamespace } from "../../src/index.ts";
import { mkdirs, withTmpfs } from "./mounts.ts";
import { OTHER_UID } from "./needs.ts";

export interface Locations {
	folder: string;
	/** `way` is the other user's link to `victim`. */
	home: string;
	way: string;
	/** `spot` belongs to root and has a mount of this package on it. */
	victim: string;
	spot: string;
	ns: UserNamespace;
}

/** Runs `body` with a link of another user, and a mount of this package at the path to which the link leads. */
export async function withLink(body: (locations: Locations) => void | Promise<void>): Promise<void> {
	await withTmpfs(async (folder) => {
		const [home = "", victim = "", spot = "", source = ""] = mkdirs(
			folder,
			"home",
			"victim",
			"victim/spot",
			"source",
		);
		chownSync(home, OTHER_UID, OTHER_UID);
		const way = join(home, "way");
		symlinkSync(victim, way);
		lchownSync(way, OTHER_UID, OTHER_UID);
		const ns = UserNamespace.createSync("0:100000:10");
		const mount = await mountIdmapped({ source, target: spot, userns: ns });
		mount.close();
		try {
			await body({ folder, home, way, victim, spot, ns });
		} finally {
			ns.close();
		}
	});
}
