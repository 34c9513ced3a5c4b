import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root, sh, userns } from "../support/child.ts";
import { helpPages } from "../support/help-pages.ts";
import { atTerminal, Terminal } from "../support/terminal.ts";
import { test } from "../support/test.ts";

/** A folder with the command, another program and a directory `data`. */
function withCommands<T>(body: (folder: string) => T): T {
	const folder = mkdtempSync(join(tmpdir(), "userns-completion-"));
	const remove = () => rmSync(folder, { recursive: true, force: true });
	mkdirSync(join(folder, "data"));
	const command = `exec "${process.execPath}" "${join(root, "dist/src/cli/userns.js")}" "$@"`;
	for (const [name, line] of [
		["userns", command],
		["program-of-the-test", "exit 0"],
	] as const) {
		writeFileSync(join(folder, name), `#!/bin/sh\n${line}\n`);
		chmodSync(join(folder, name), 0o755);
	}
	let result: T;
	try {
		result = body(folder);
	} catch (error) {
		remove();
		throw error;
	}
	if (!(result instanceof Promise)) remove();
	return result instanceof Promise ? (result.finally(remove) as T) : result;
}

const SYNTAXES = ["podman", "podman-idmap", "podman-info", "podman-inspect", "proc"];

/** Lines, each with what every shell offers for its last word. "FOLDER" stands for the folder. */
const LINES: readonly [line: string, offered: readonly string[]][] = [
	["userns m", ["map", "mount", "mounts"]],
	["userns help ma", ["map"]],
	["userns --vers", ["--version"]],
	["userns map con", ["convert"]],
	["userns map convert --fr", ["--from"]],
	["userns map convert --from p", SYNTAXES],
	["userns map convert --from proc --to p", SYNTAXES],
	["userns map convert --to p", SYNTAXES],
	["userns map translate --re", ["--reverse"]],
	["userns mount --map 0:1:2 --nes", ["--nested"]],
	["userns mount --map 0:1:2 --nested ", ["compose", "refuse", "replace"]],
	["userns mount --nested=c", ["--nested=compose"]],
	["userns mount --owner daemo", ["daemon"]],
	["userns mount --map 0:1:2 FOLDER/da", ["FOLDER/data"]],
	["userns mount --map 0:1:2 FOLDER/data FOLDER/da", ["FOLDER/data"]],
	["userns umount --target-root FOLDER/da", ["FOLDER/data"]],
	["userns overlay --map 0:1:2 --lower FOLDER/da", ["FOLDER/data"]],
	["userns overlay --kee", ["--keep-upper"]],
	["userns map pun", ["punch"]],
	["userns map draw --svg FOLDER/da", ["FOLDER/data"]],
	["userns map draw FOLDER/da", ["FOLDER/data"]],
	["userns exec --map a", ["auto"]],
	["userns exec --map 0:1:2 --unshare mount,pi", ["mount,pid"]],
	["userns exec --map 0:1:2 -- program-of-the-t", ["program-of-the-test"]],
	["userns exec --map 0:1:2 program-of-the-test FOLDER/da", ["FOLDER/data"]],
	["userns completion ", ["bash", "fish", "zsh"]],
];

/** Compares what a shell offers with LINES. */
async function compare(folder: string, offer: (line: string) => Promise<string[]> | string[]): Promise<void> {
	for (const [line, offered] of LINES) {
		const own = (text: string) => text.replaceAll("FOLDER", folder);
		assert.deepEqual((await offer(own(line))).sort(), offered.map(own), line);
	}
}

/** Types each line, inserts every completion into it, and prints the line. The keys are those of `start`. */
async function atShell(shell: string, start: string): Promise<void> {
	await withCommands((folder) =>
		atTerminal(new Terminal(shell), async (terminal) => {
			terminal.type(`PATH="${folder}:$PATH"\n${start}\necho rea''dy\n`);
			await terminal.says(/^ready/m);
			await compare(folder, async (line) => {
				terminal.type(`${line}\x18\x01\x18\x10`);
				const [, text = ""] = await terminal.says(/<<([^>]*)>>/);
				terminal.type("\x15");
				const before = line.slice(0, line.lastIndexOf(" ") + 1);
				assert.ok(text.startsWith(before), text);
				// zsh adds the sign that comes next: "=" after an option, "," in a list, "/" after a directory.
				return text
					.slice(before.length)
					.trim()
					.split(/\s+/)
					.map((word) => word.replace(/[=,/]$/, ""));
			});
		}),
	);
}

test(
	"bash completes commands, options, their arguments, paths and programs",
	{
		needs: ["linux", "tool:script", "tool:bash"],
	},
	() =>
		atShell(
			"bash --norc --noprofile -i",
			`source <(userns completion bash)
bind '"\\C-x\\C-a": insert-completions'
bind -x '"\\C-x\\C-p": printf "<%s%s>>\\n" "<" "$READLINE_LINE"'`,
		),
);

test(
	"zsh completes commands, options, their arguments, paths and programs",
	{
		needs: ["linux", "tool:script", "tool:zsh"],
	},
	() =>
		atShell(
			"zsh -f -i",
			`autoload -Uz compinit; compinit -u -D; source <(userns completion zsh)
zle -C all-matches complete-word _generic; bindkey '^X^A' all-matches
zstyle ':completion:all-matches::::' completer _all_matches _complete
zstyle ':completion:all-matches:*' insert yes
show() { print -r -- "<<$BUFFER>""> " }; zle -N show; bindkey '^X^P' show`,
		),
);

test(
	"fish completes commands, options, their arguments, paths and programs",
	{
		needs: ["linux", "tool:fish"],
	},
	() =>
		withCommands((folder) => {
			const script = join(folder, "completion.fish");
			writeFileSync(script, userns("completion", "fish").stdout);
			return compare(folder, (line) => {
				const code = `set -x PATH ${folder} $PATH; source ${script}; complete -C '${line}'`;
				const printed = sh("env", `HOME=${folder}`, "fish", "--no-config", "-c", code);
				const words = printed.split("\n").map((each) => each.split("\t")[0]?.replace(/\/$/, "") ?? "");
				return [...new Set(words.filter((word) => word !== ""))];
			});
		}),
);

test("the completions of each shell name every command and option of the help pages", () => {
	const shells = ["bash", "zsh", "fish"] as const;
	const texts = shells.map((shell) => userns("completion", shell).stdout);
	for (const [command, page] of helpPages()) {
		const options = [...page.matchAll(/^ {2}(?:-\w, )?--([\w-]+)/gm)].map(([, name = ""]) => name);
		const last = command.split(" ").at(-1) ?? "";
		for (const word of [last, ...options])
			for (const [i, text] of texts.entries())
				assert.match(text, new RegExp(`\\b${word}\\b`), `${shells[i]}: ${command} ${word}`);
	}
});

test("completion refuses another shell, and writes nothing for it", () => {
	const { status, stdout, stderr } = userns("completion", "csh");
	assert.equal(status, 2);
	assert.equal(stdout, "");
	assert.match(stderr, /Allowed choices are bash, zsh, fish\.\nhint: See "userns completion --help"\.\n$/);
});

test("bash itself completes the path of a program, because it quotes a name such as a;id", {
	needs: ["linux", "tool:bash"],
}, () => {
	const folder = mkdtempSync(join(tmpdir(), "userns-completion-"));
	try {
		writeFileSync(join(folder, "a;id"), "", { mode: 0o755 });
		const code = `cd "$1"; source <(printf %s "$0"); COMP_LINE="userns exec ./a" COMP_POINT=15; _userns; echo "\${#COMPREPLY[@]}"`;
		assert.equal(sh("bash", "-c", code, userns("completion", "bash").stdout, folder), "0\n");
	} finally {
		rmSync(folder, { recursive: true });
	}
});
