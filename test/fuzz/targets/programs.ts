import { enterError, parseAnswer } from "../../../src/namespace/enter-program.ts";
import { oneLine } from "../../../src/namespace/newidmap.ts";
import { attempt, must, skeleton, type Target, toText } from "../engine/target.ts";

/** "STEP ERRNO" in the pipe from userns-enter. */
const answers: Target = {
	name: "enter-answer",
	words: ["setns", "execve", "close_range", "program", " ", "1", "22", "0", "-1", "4294967295"],
	seeds: ["setns 1", "execve 2", "close_range 38", "", "unshare 28"],
	run(bytes) {
		const words = Buffer.from(bytes).toString("latin1");
		const failure = parseAnswer(words);
		must((failure === undefined) === (words === ""), () => "words that are none, or none that are some");
		if (failure === undefined) return "executed";
		const { step, error } = failure;
		must(Number.isInteger(error) && error < 0 && error > -4096, () => `the errno ${error}`);
		must(/^enter [a-z_]+$/.test(step), () => `the step ${JSON.stringify(step)}`);
		const parsed = attempt(["ERR_USERNS_SPAWN"], () => {
			throw enterError("sh", failure);
		});
		return "error" in parsed ? skeleton(parsed.error) : "";
	},
	growing: { length: (n) => "x".repeat(n), blanks: (n) => " ".repeat(n) },
};

/** The text that newuidmap prints, which goes to terminals and logs. */
const words: Target = {
	name: "newidmap-words",
	words: [
		"newuidmap: ",
		"write to uid_map failed",
		"\n",
		"\u001b[2J",
		"\u009b",
		"\r",
		"\u0085",
		"\u2028",
		" ",
	],
	seeds: ["newuidmap: uid range [0-1) -> [0-1) not allowed\n", "\u001b]0;x\u0007\u009b1m", "a\n\n  b\r\nc"],
	run(bytes) {
		const line = oneLine(toText(bytes));
		for (const character of line) {
			const code = character.codePointAt(0) as number;
			must(
				code >= 0x20 && (code < 0x7f || code > 0x9f),
				() => `the control character U+${code.toString(16)}`,
			);
		}
		return `${line.includes(" / ")} ${line.includes("?")}`;
	},
	growing: { blanks: (n) => " ".repeat(20 * n), lines: (n) => " \n".repeat(10 * n) },
};

export const programTargets: readonly Target[] = [answers, words];
