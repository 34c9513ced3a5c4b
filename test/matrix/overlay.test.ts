import { overlay } from "./filesystems.ts";
import { matrix } from "./matrix.ts";

await matrix(overlay);
