// Makes dist/: one small file per entry, and its types. `node build.js tests` also makes build/, which the tests run from.

import { execFileSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

export const ENTRIES = ["index", "react", "sse", "tabs", "tradingview", "user_events"];

const ours = { bundle: true, format: "esm", target: "es2022", logLevel: "warning" };

/** Entries share the core by importing it, so that a page has it once. */
const core = {
  name: "core",
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/index\.js$/ }, () => ({ path: "./index.js", external: true }));
  },
};

export async function entries(minify = true) {
  rmSync("dist", { recursive: true, force: true });
  const entryPoints = ENTRIES.map((name) => `src/${name}.ts`);
  await build({ ...ours, entryPoints, outdir: "dist", minify, sourcemap: "external", external: ["react"], plugins: [core] });
}

export function types() {
  execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json"], { stdio: "inherit" });
}

export async function tests() {
  rmSync("build", { recursive: true, force: true });
  const entryPoints = readdirSync("test").filter((name) => name.endsWith(".test.ts")).map((name) => `test/${name}`);
  await build({ ...ours, entryPoints, outdir: "build", platform: "node", packages: "external", sourcemap: "inline" });
}

if (import.meta.url === `file://${process.argv[1]}`) {
  await entries();
  types();
  if (process.argv[2] === "tests") await tests();
}
