import { btrfs } from "./filesystems.ts";
import { matrix } from "./matrix.ts";

await matrix(btrfs);
