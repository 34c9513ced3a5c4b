import { tmpfs } from "./filesystems.ts";
import { matrix } from "./matrix.ts";

await matrix(tmpfs);
