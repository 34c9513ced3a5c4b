import { ext4 } from "./filesystems.ts";
import { matrix } from "./matrix.ts";

await matrix(ext4);
