import { fuse } from "./filesystems.ts";
import { matrix } from "./matrix.ts";

await matrix(fuse);
