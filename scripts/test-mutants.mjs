// Mutation testing (scripts/mutants/config.mjs). Takes some minutes, and the network at first. Passes arguments to StrykerJS:
// `npm run test:mutants -- --mutate src/mapping/proc.ts`. The report is reports/mutants.html.
import { PACKAGE } from "./mutants/config.mjs";
import { installPackages, run } from "./setup.mjs";

installPackages();
run(
	"npx",
	["--yes", `--package=${PACKAGE}`, "stryker", "run", "scripts/mutants/config.mjs", ...process.argv.slice(2)],
	{
		// The same few cases each time, because the tests run once for each mutant.
		env: { ...process.env, USERNS_SEED: "1", USERNS_RUNS: "60" },
	},
);
