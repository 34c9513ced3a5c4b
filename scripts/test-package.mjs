// The long form of the tests of the packed package: every bundler and test runner, versions of TypeScript, package managers, clean
// clones. It needs a network: the programs are installed into a cache folder (test/support/consumer.ts).
import { build } from "./build.mjs";
import { runTests } from "./test.mjs";

await build();
process.env.USERNS_LONG = "1";
runTests(["package"]);
