import { test } from "../support/test.ts";
import { cases } from "./cases.ts";

for (const { name, needs, run } of cases) test(name, { needs }, run);
