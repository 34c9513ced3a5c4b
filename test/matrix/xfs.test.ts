import { xfs } from "./filesystems.ts";
import { matrix } from "./matrix.ts";

await matrix(xfs);
