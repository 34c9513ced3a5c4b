// The quick check before a commit, without privilege: build, lint, layers, words, unit tests.
import { build } from "./build.mjs";
import { checkLayers } from "./check-layers.mjs";
import { checkWords } from "./check-words.mjs";
import { lint, runTests } from "./test.mjs";

await build();
lint();
checkLayers();
checkWords();
(await import("./declarations.mjs")).checkApi();
runTests(["unit"]);
