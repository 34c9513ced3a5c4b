// The quick check before a commit, without privilege: build, lint, layers, unit tests.
import { build } from "./build.mjs";
import { checkLayers } from "./check-layers.mjs";
import { lint, runTests } from "./test.mjs";

await build();
lint();
checkLayers();
runTests(["unit"]);
