import { erofs } from "./filesystems.ts";
import { matrix } from "./matrix.ts";

await matrix(erofs);
