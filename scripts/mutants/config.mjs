/**
 * Mutation testing of code without I/O (StrykerJS): every operator, constant and text of src/mapping and src/errors.ts is
 * changed, one at a time, and a test must fail.
 *
 * StrykerJS is not a development dependency, because it has 166 packages, which every clone and CI job would install, and
 * the rest of the project needs few. `npm run test:mutants` gets this version with npx(1); 9 is the last that runs on
 * Node 20.
 */
export const PACKAGE = "@stryker-mutator/core@9.6.1";

/** The tests that must fail. Without test/unit/texts.test.ts, which measures time and would take most of the run. */
export const TESTS = [
	"messages",
	"forms",
	"errors",
	"methods",
	"rootless",
	"oci",
	"syntax",
	"kernel-lines",
	"mapping",
	"algebra",
];

export default {
	mutate: ["src/mapping/**/*.ts", "src/errors.ts"],
	plugins: ["./scripts/mutants/runner.mjs"],
	testRunner: "in-process",
	coverageAnalysis: "perTest",
	buildCommand: "node scripts/mutants/build.mjs",
	// tsconfig.json: StrykerJS would rewrite it with TypeScript's former API; esbuild does not need it.
	ignorePatterns: [
		"/tsconfig.json",
		"/dist",
		"/build",
		"/bench",
		"/docs",
		"/examples",
		"/native",
		"/reports",
	],
	reporters: ["progress-append-only", "clear-text", "json", "html"],
	clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
	jsonReporter: { fileName: "reports/mutants.json" },
	htmlReporter: { fileName: "reports/mutants.html" },
	concurrency: 1,
	// An endless loop is detected by counting; this limit is for slow mutants on a busy machine.
	timeoutMS: 20_000,
	maxTestRunnerReuse: 300,
	thresholds: { high: 95, low: 90, break: 90 },
	tempDirName: ".mutants",
};
