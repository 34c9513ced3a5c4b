import { InvalidArgumentError } from "commander";
import { UserNamespace } from "../index.ts";

/** For an option whose value is a number; the library knows which numbers are good. */
export function wholeNumber(what: string): (text: string) => number {
	return (text) => {
		if (!/^\d{1,10}$/.test(text)) throw new InvalidArgumentError(`Here ${what} must be a whole number.`);
		return Number(text);
	};
}

/** TARGET of a command: digits alone are a pid, everything else is a path. */
export function openTarget(target: string): UserNamespace {
	return UserNamespace.open(/^\d+$/.test(target) ? Number(target) : target);
}
