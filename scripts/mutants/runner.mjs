/**
 * A test runner for StrykerJS that stays in one process. The instrumented code reads the active mutant from a variable, so
 * a run takes only the time of the tests that reach the mutant, without a start of Node. Runners that start Node for each
 * mutant and test file took fifty times as long.
 */
import { resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { pathToFileURL } from "node:url";

/** The part of the test context that these tests use. */
const CONTEXT = { diagnostic() {} };
const SUCCESS = 0;
const FAILED = 1;

/** The instrumented code keeps a reference to this object, so it is never replaced. */
globalThis.__stryker__ ??= {};
const state = globalThis.__stryker__;

class InProcessRunner {
	#tests;
	#loads = 0;
	/** The mutant that was active while the modules were evaluated, because it influences their constants. */
	#loadedWith;

	capabilities() {
		return { reloadEnvironment: true };
	}

	async init() {}

	async dryRun() {
		await this.#load(undefined);
		const tests = await this.#run(this.#tests);
		return { status: "complete", tests, mutantCoverage: state.mutantCoverage };
	}

	async mutantRun({ activeMutant: { id }, testFilter, hitLimit, mutantActivation, reloadEnvironment }) {
		Object.assign(state, { hitCount: 0, hitLimit });
		const atLoad = mutantActivation === "static" ? id : undefined;
		if (reloadEnvironment || this.#tests === undefined || this.#loadedWith !== atLoad) {
			try {
				await this.#load(atLoad);
			} catch (error) {
				this.#tests = undefined;
				return { status: "killed", failureMessage: String(error), killedBy: [], nrOfTests: 0 };
			}
		}
		state.activeMutant = id;
		const results = await this.#run(this.#tests.filter((test) => testFilter?.includes(test.id) ?? true));
		state.activeMutant = undefined;
		if (state.hitCount > hitLimit) return { status: "timeout", reason: "it goes round and round" };
		const failed = results.find(({ status }) => status === FAILED);
		const nrOfTests = results.length;
		if (failed === undefined) return { status: "survived", nrOfTests };
		return { status: "killed", failureMessage: failed.failureMessage, killedBy: [failed.id], nrOfTests };
	}

	async #load(active) {
		globalThis.notedTests = [];
		state.activeMutant = active;
		state.currentTestId = undefined;
		this.#loadedWith = active;
		// Resolved here, because the working directory was another one at the start. The query makes it a new module.
		await import(`${pathToFileURL(resolve("dist/mutants.js"))}?${this.#loads++}`);
		const seen = new Map();
		this.#tests = globalThis.notedTests.map(({ name, body }) => {
			const times = (seen.get(name) ?? 0) + 1;
			seen.set(name, times);
			return { id: times === 1 ? name : `${name} (${times})`, body };
		});
	}

	/** Runs all tests until one fails. */
	async #run(tests) {
		const results = [];
		for (const { id, body } of tests) {
			const start = performance.now();
			let failureMessage;
			state.currentTestId = id;
			try {
				await body(CONTEXT);
			} catch (error) {
				failureMessage = String(error).slice(0, 500);
			}
			const status = failureMessage === undefined ? SUCCESS : FAILED;
			results.push({ id, name: id, timeSpentMs: performance.now() - start, status, failureMessage });
			if (status === FAILED) break;
		}
		state.currentTestId = undefined;
		return results;
	}
}

export const strykerPlugins = [{ kind: "TestRunner", name: "in-process", injectableClass: InProcessRunner }];
