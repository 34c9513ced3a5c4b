import { Mapping } from "../mapping/mapping.ts";
import { cachedDescriptor, Handles } from "../namespace/handles.ts";
import { knownMapping, UserNamespace } from "../namespace/user-namespace.ts";
import { Descriptor } from "../native/descriptor.ts";
import { native } from "../native/load.ts";
import { PROPAGATION } from "./attributes.ts";
import { adoptMount, type IdmappedMount } from "./idmapped-mount.ts";
import type { MountIdmappedOptions } from "./options.ts";

/*
 * The ordinary mount on this thread: waking another one takes longer than the mount (docs/adr/033), and so do checks that
 * find nothing. Undefined for whatever is not that plain or refuses, be it only that a look-up would have to wait for a file
 * system: the longer way does it, or says why not.
 */

/** With nothing to say but what is shown where under which map. Each option is read once; the places are for the C part to check. */
export function mountPlain(options: MountIdmappedOptions): IdmappedMount | undefined {
	if (typeof options !== "object") return undefined;
	for (const name in options) {
		const plain =
			name === "source" || name === "target" || name === "mapping" || name === "handles" || name === "userns";
		if (!plain) return undefined;
	}
	const { source, target, mapping, userns, handles } = options ?? {};
	if (target === undefined) return undefined;
	if (userns === undefined) {
		if (!(handles instanceof Handles) || mapping === undefined) return undefined;
		return mountCached(source, target, 0, Mapping.from(mapping), handles, 0, 0, PROPAGATION.private);
	}
	if (mapping !== undefined || handles !== undefined || !(userns instanceof UserNamespace)) return undefined;
	return mountWith(source, target, 0, userns, 0, 0, PROPAGATION.private);
}

/** With the namespace that is cached; undefined too when none is. */
export function mountCached(
	source: string | number,
	target: string | number,
	resolve: number,
	mapping: Mapping,
	handles: Handles,
	set: number,
	clear: number,
	propagation: number,
): IdmappedMount | undefined {
	const ns = cachedDescriptor(handles, mapping);
	if (ns === undefined) return undefined;
	return mountAtOnce(source, target, resolve, mapping, ns, set, clear, propagation);
}

/** With a namespace of the caller's; undefined too when its map is not known without asking. */
export function mountWith(
	source: string | number,
	target: string | number,
	resolve: number,
	userns: UserNamespace,
	set: number,
	clear: number,
	propagation: number,
): IdmappedMount | undefined {
	const mapping = knownMapping(userns);
	if (mapping === undefined) return undefined;
	return mountAtOnce(source, target, resolve, mapping, userns.fd, set, clear, propagation);
}

/** `ns` has that map. */
export function mountAtOnce(
	source: string | number,
	target: string | number,
	resolve: number,
	mapping: Mapping,
	ns: number,
	set: number,
	clear: number,
	propagation: number,
): IdmappedMount | undefined {
	// The longer way refuses it in words.
	if (mapping.uidMappings.length === 0 || mapping.gidMappings.length === 0) return undefined;
	const surface = native();
	let fd: number;
	try {
		fd = surface.quickMount(source, target, resolve, ns, set, clear, propagation);
	} catch {
		return undefined; // a place that is none: nothing was asked of the kernel
	}
	if (fd < 0) return undefined;
	const descriptor = new Descriptor(fd, "IdmappedMount", mapping);
	const made = {
		descriptor,
		mountId: 0,
		recursive: false,
		propagation,
		source,
		words: undefined,
		mapping: mapping.id,
	};
	const mount = adoptMount(made, mapping, [], target);
	surface.told(fd);
	return mount;
}
