// The long form of the tests of faults, ends of processes, and long runs. Most of it needs root.
import { build } from "./build.mjs";
import { runTests } from "./test.mjs";

await build();
process.env.USERNS_LONG = "1";
runTests(["fault", "lifecycle", "soak"]);
