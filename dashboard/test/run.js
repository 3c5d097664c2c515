// Bundles every test and runs it; `node test/run.js NAME…` runs those of these names. With `--pictures` the pages are drawn
// for docs/ in place of the tests.

import { execFileSync } from "node:child_process";
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

const [first, ...rest] = process.argv.slice(2);
const arePictures = first === "--pictures";
const wanted = arePictures ? rest : [first, ...rest].filter(Boolean);
const sources = readdirSync("test").filter((name) => name.endsWith(arePictures ? ".pictures.ts" : ".test.ts"));
rmSync("build", { recursive: true, force: true });
await build({
  entryPoints: sources.map((name) => `test/${name}`),
  outdir: "build",
  bundle: true,
  format: "esm",
  platform: "node",
  packages: "external",
  sourcemap: "inline",
  target: "es2022",
  logLevel: "warning",
});
const files = readdirSync("build").filter((name) => !wanted.length || wanted.some((part) => name.includes(part)));
try {
  execFileSync(process.execPath, ["--test", "--test-reporter=spec", ...files.map((name) => `build/${name}`)], { stdio: "inherit" });
} catch {
  process.exitCode = 1;
}
