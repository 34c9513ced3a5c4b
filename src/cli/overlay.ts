import { type Command, Option } from "commander";
import { type OverlayOptions, overlay, type UserNamespace } from "../index.ts";
import { MOUNT_MAP_HELP, readMountMap } from "./map-argument.ts";
import { addTargetOptions, type TargetFlags } from "./mount.ts";
import { containerOf, openTarget } from "./namespace-argument.ts";
import { mappingLines, print } from "./output.ts";

type Own = Pick<OverlayOptions, "upper" | "work" | "mapUpper" | "keepUpper">;

interface Options extends Own, TargetFlags {
	map?: string;
	userns?: string;
	lower?: string[];
	json?: boolean;
}

const HELP = `
Example:
  userns overlay --map 0:2100000000:65536 --lower /srv/a --lower /srv/b /mnt/o
shows the files of both directories in /mnt/o, those that root owns as owned by
uid 2100000000. A file in /srv/a covers that of the same name in /srv/b. "userns
umount /mnt/o" unmounts it. Nothing on disk changes.
${MOUNT_MAP_HELP}

With --into PID, "--userns PID" takes the map of the container.

A lower layer is only read. The kernel accepts at most 500. With --upper and
--work every change is written to the upper layer. Otherwise the overlay is
read-only, and needs two lower layers.

The upper layer is not ID-mapped, unless --map-upper is given. A new one, which
is empty and was in no other overlay, gets the visible owner and mode of the
topmost lower layer. Any other is not changed, and with --keep-upper none is.`;

export function define(command: Command): void {
	command
		.argument("<target>", "the mount point; it must exist")
		.option("--lower <dir>", "a lower layer; repeat it, the topmost first", collect)
		.option("--upper <dir>", "the layer to which changes are written")
		.option("--work <dir>", "an empty directory on the mount of the upper layer")
		.option("--map <map>", "map IDs on disk to visible IDs; see below")
		.addOption(
			new Option("--userns <pid|path>", "map as the user namespace of a process or at a path").conflicts(
				"map",
			),
		)
		.option("--map-upper", "map the upper layer too")
		.option("--keep-upper", "do not change the owner and mode of the upper layer");
	addTargetOptions(command)
		.option("--json", "print the result as JSON")
		.addHelpText("after", HELP)
		.action((target: string, options: Options) => run(command, target, options));
}

function collect(layer: string, others: readonly string[] = []): string[] {
	return [...others, layer];
}

async function run(command: Command, target: string, given: Options): Promise<void> {
	const { map, userns, lower, readOnly = false, into, json, ...options } = given;
	if (lower === undefined) command.error("error: --lower is not given");
	if (map === undefined && userns === undefined) command.error("error: neither --map nor --userns is given");
	if (map === "container") command.error("error: --map container is not for overlays; use --userns PID");
	if ((options.upper === undefined) !== (options.work === undefined)) {
		command.error("error: --upper and --work must be given together");
	}
	const namespace: UserNamespace | undefined = userns === undefined ? undefined : await openTarget(userns);
	try {
		const mounted = await overlay({
			...options,
			...(map !== undefined && { mapping: readMountMap(map) }),
			...(namespace !== undefined && { userns: namespace }),
			lower,
			target,
			readonly: readOnly,
			...containerOf(into),
		});
		const { mountId, mapping } = mounted;
		mounted.close();
		const { upper, work } = options;
		const result = { lower, ...(upper !== undefined && { upper, work }), target, mountId, readOnly, mapping };
		const layers = `${lower.length} lower ${lower.length === 1 ? "layer" : "layers"}`;
		const where = `${target}${into === undefined ? "" : ` in ${into}`}`;
		const done = `an overlay of ${layers}${upper === undefined ? "" : ` and ${upper}`} is mounted on ${where}`;
		await print(json, result, () => [done, ...mappingLines(mapping, "on disk", "visible")], done);
	} finally {
		namespace?.close();
	}
}
