import type { Target } from "../engine/target.ts";
import { cliTargets } from "./cli.ts";
import { mountTargets } from "./mounts.ts";
import { ociMounts } from "./oci.ts";
import { options } from "./options.ts";
import { procMaps } from "./proc.ts";
import { programTargets } from "./programs.ts";
import { subidTargets } from "./subid.ts";
import { mappingTargets } from "./syntaxes.ts";

/** Every parser of this project that reads text, bytes or values from outside. */
export const targets: readonly Target[] = [
	...mappingTargets,
	procMaps,
	...mountTargets,
	ociMounts,
	...subidTargets,
	...programTargets,
	options,
	...cliTargets,
];
