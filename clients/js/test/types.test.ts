// The types that `broadcastd schema ts` prints are those of this client: right uses compile, and wrong ones do not.

import { execFileSync, spawnSync } from "node:child_process";
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { before, test } from "node:test";
import { missing } from "./daemon.js";

const uses = readFileSync("test/types/uses.ts", "utf8");

before(() => {
  if (missing) return;
  const folder = mkdtempSync(join(tmpdir(), "broadcastd-js-types-")); // without a config.toml: the shipped one
  const printed = execFileSync(resolve(process.env["BROADCASTD_BIN"]!), ["schema", "ts"], { cwd: folder, encoding: "utf8" });
  rmSync(folder, { recursive: true });
  mkdirSync("build/types", { recursive: true });
  writeFileSync("build/types/streams.ts", printed);
});

/** What the compiler has against these uses. */
function complaints(source: string): string {
  writeFileSync("build/types/uses.ts", source);
  const config = { extends: "../../tsconfig.json", compilerOptions: { rootDir: "../.." }, include: ["uses.ts"], exclude: [] };
  writeFileSync("build/types/tsconfig.json", JSON.stringify(config));
  return spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "build/types/tsconfig.json"], { encoding: "utf8" }).stdout;
}

test("the compiler takes right uses, and refuses exactly the wrong ones", { skip: missing }, () => {
  assert.equal(complaints(uses), "");
  assert.match(complaints(`${uses}\nclient.subscribe("barz");\n`), /^build\/types\/uses\.ts\(\d+,\d+\): error TS2345/);
});
