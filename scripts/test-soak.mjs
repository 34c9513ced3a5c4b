// The long form of what `npm test` has in short: each fault, each death, each minute. Root for the most of it.
import { build } from "./build.mjs";
import { runTests } from "./test.mjs";

await build();
process.env.USERNS_LONG = "1";
runTests(["fault", "lifecycle", "soak"]);
