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
  mkdirSync("build/types", { recursive: true });
  if (missing) return;
  const folder = mkdtempSync(join(tmpdir(), "broadcastd-js-types-")); // without a config.toml: the shipped one
  const printed = execFileSync(resolve(process.env["BROADCASTD_BIN"]!), ["schema", "ts"], { cwd: folder, encoding: "utf8" });
  rmSync(folder, { recursive: true });
  writeFileSync("build/types/streams.ts", printed);
});

/** What the compiler has against these uses. */
function complaints(source: string, more: object = {}): string {
  writeFileSync("build/types/uses.ts", source);
  const config = { extends: "../../tsconfig.json", compilerOptions: { rootDir: "../..", ...more }, include: ["uses.ts"], exclude: [] };
  writeFileSync("build/types/tsconfig.json", JSON.stringify(config));
  return spawnSync(process.execPath, ["node_modules/typescript/bin/tsc", "-p", "build/types/tsconfig.json"], { encoding: "utf8" }).stdout;
}

test("the compiler takes right uses, and refuses exactly the wrong ones", { skip: missing }, () => {
  assert.equal(complaints(uses), "");
  assert.match(complaints(`${uses}\nclient.subscribe("barz");\n`), /^build\/types\/uses\.ts\(\d+,\d+\): error TS2345/);
});

test("the types of the package need nothing that a page's project does not have", () => {
  const entries = ["broadcastd", "broadcastd/sse", "broadcastd/tabs", "broadcastd/tradingview", "broadcastd/user-events"];
  const source = entries.map((entry, index) => `export * as _${index} from "${entry}";\n`).join("");
  for (const resolution of [{ module: "nodenext" }, { module: "esnext", moduleResolution: "bundler" }]) {
    assert.equal(complaints(source, { ...resolution, lib: ["es2022", "dom"], types: [], skipLibCheck: false }), "");
  }
});
