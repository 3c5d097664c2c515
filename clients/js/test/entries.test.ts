// What a page loads: how much it is, and that nothing happens by loading it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

/** Bytes after gzip that an entry may have; the core is what every page pays. */
const BUDGETS: Record<string, number> = { index: 5_000, react: 1_000, sse: 3_500, tabs: 3_000, tradingview: 800, user_events: 20 };

const source = (name: string) => readFileSync(`dist/${name}.js`);

for (const [name, budget] of Object.entries(BUDGETS)) {
  test(`the entry ${name} is small`, () => {
    const size = gzipSync(source(name), { level: 9 }).length;
    console.log(`${name}: ${size} of ${budget} bytes`);
    assert.ok(size <= budget, `${size} bytes; the budget is ${budget}`);
  });
}

test("the core is the same for all entries, and needs nothing else", () => {
  for (const name of Object.keys(BUDGETS)) {
    const imports = [...source(name).toString().matchAll(/\b(?:from|import) *"([.\w/]+)"/g)].map(([, from]) => from);
    const allowed = { index: [], react: ["react"], tabs: ["./index.js"] }[name] ?? [];
    assert.deepEqual(imports, allowed, name);
  }
  const { dependencies } = JSON.parse(readFileSync("package.json", "utf8"));
  assert.equal(dependencies, undefined);
});

test("loading an entry touches nothing of the platform", async () => {
  const globals = globalThis as any;
  const before = new Map(["WebSocket", "BroadcastChannel", "fetch", "document", "location"].map((name) => [name, Object.getOwnPropertyDescriptor(globals, name)]));
  for (const name of before.keys()) {
    Object.defineProperty(globals, name, {
      configurable: true,
      get: () => assert.fail(`${name} was looked at`),
    });
  }
  try {
    const entries = Object.keys(BUDGETS).map((name) => import(new URL(`../dist/${name}.js`, import.meta.url).href));
    await Promise.all(entries);
  } finally {
    for (const [name, descriptor] of before) {
      if (descriptor) Object.defineProperty(globals, name, descriptor);
      else delete globals[name];
    }
  }
});

test("every entry of the package is there, with its types", () => {
  const { exports } = JSON.parse(readFileSync("package.json", "utf8"));
  assert.equal(Object.keys(exports).length, Object.keys(BUDGETS).length);
  for (const entry of Object.values<any>(exports)) for (const file of Object.values<string>(entry)) readFileSync(file);
});
