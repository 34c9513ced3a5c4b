import { squashfs } from "./filesystems.ts";
import { matrix } from "./matrix.ts";

await matrix(squashfs);
