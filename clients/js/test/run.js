// Builds everything and runs every test, three files at once because most of them wait; `node test/run.js NAME…` runs those of these names.

import { execFileSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { entries, tests, types } from "../build.js";

await entries();
types();
await tests();
const wanted = process.argv.slice(2);
const files = readdirSync("build").filter((name) => !wanted.length || wanted.some((part) => name.includes(part)));
try {
  execFileSync(process.execPath, ["--test", "--test-reporter=spec", "--test-concurrency=3", ...files.map((name) => `build/${name}`)], { stdio: "inherit" });
} catch {
  process.exitCode = 1;
}
