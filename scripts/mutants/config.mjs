/**
 * Mutation testing of what is pure (StrykerJS): every operator, constant and text of src/mapping and src/errors.ts is
 * changed, one at a time, and a test must notice.
 *
 * StrykerJS is no development dependency: it is 166 packages, where all that the rest needs is a handful, and it would
 * be installed in every clone and CI job for the one who calls it. `npm run test:mutants` takes this version by npx(1);
 * 9 is the last that runs on Node 20.
 */
export const PACKAGE = "@stryker-mutator/core@9.6.1";

/** The tests that have to notice. test/unit/texts.test.ts is about time, and would take most of it. */
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
	// tsconfig.json: StrykerJS would rewrite it with TypeScript's old programming interface; esbuild can do without.
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
	// A loop without end is seen by counting; this is for what is only slow, on a machine that has other work.
	timeoutMS: 20_000,
	maxTestRunnerReuse: 300,
	thresholds: { high: 95, low: 90, break: 90 },
	tempDirName: ".mutants",
};
