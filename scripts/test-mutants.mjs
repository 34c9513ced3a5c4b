// Mutation testing (scripts/mutants/config.mjs). Some minutes, and the network the first time. Arguments go to StrykerJS:
// `npm run test:mutants -- --mutate src/mapping/proc.ts`. The report is reports/mutants.html.
import { PACKAGE } from "./mutants/config.mjs";
import { installPackages, run } from "./setup.mjs";

installPackages();
run(
	"npx",
	["--yes", `--package=${PACKAGE}`, "stryker", "run", "scripts/mutants/config.mjs", ...process.argv.slice(2)],
	{
		// The same cases each time, and few of them: a run is made for each of the mutants.
		env: { ...process.env, USERNS_SEED: "1", USERNS_RUNS: "60" },
	},
);
