// The long form of the tests of the package as a project has it: with all versions of TypeScript, all bundlers and test runners
// of the list below, which are installed into a cache folder. Needs the network at the first run.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { build } from "./build.mjs";
import { root, run } from "./setup.mjs";
import { runTests } from "./test.mjs";

const own = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).devDependencies;

/** Exact versions. What the project itself uses, it uses in the same version. */
const TOOLS = {
	"typescript-5.2": "npm:typescript@5.2.2",
	"typescript-5.4": "npm:typescript@5.4.5",
	"typescript-5.6": "npm:typescript@5.6.3",
	"typescript-5.8": "npm:typescript@5.8.3",
	"typescript-5.9": "npm:typescript@5.9.3",
	"typescript-6.0": "npm:typescript@6.0.3",
	"typescript-7.0": "npm:typescript@7.0.2",
	"node-types": "npm:@types/node@20.19.11", // the last that TypeScript 5.2 reads; under this name, because vitest needs a later one
	"undici-types": "6.21.0", // of the same
	"@arethetypeswrong/cli": "0.18.5",
	esbuild: own.esbuild,
	rollup: own.rollup,
	webpack: own.webpack,
	vite: "8.3.8",
	rolldown: "1.3.2",
	"@vercel/ncc": "0.45.0",
	"@vercel/nft": "1.11.5",
	bun: "1.4.5",
	jest: "30.5.2",
	vitest: "5.1.1",
};

function install() {
	const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "userns-package");
	const manifest = JSON.stringify({ private: true, dependencies: TOOLS });
	const [file, done] = [join(folder, "package.json"), join(folder, "installed.json")];
	if (existsSync(done) && readFileSync(done, "utf8") === manifest) return folder;
	mkdirSync(folder, { recursive: true });
	writeFileSync(file, manifest);
	run("npm", ["install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"], {
		cwd: folder,
	});
	writeFileSync(done, manifest);
	return folder;
}

await build();
process.env.USERNS_PACKAGE_TOOLS = install();
process.env.USERNS_LONG = "1";
runTests(["package"]);
