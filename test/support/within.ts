import { UserNamespace } from "../../src/index.ts";
import { hosted } from "./ids.ts";

export const MAP: string = hosted("0:100000:65536");

/** A namespace for one test, which closes it. */
export async function within(
	setgroups: "allow" | "deny",
	body: (ns: UserNamespace) => Promise<void>,
	map: string = MAP,
): Promise<void> {
	const ns = await UserNamespace.create(map, { setgroups });
	try {
		await body(ns);
	} finally {
		ns.close();
	}
}
