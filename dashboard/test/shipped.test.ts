// The pages with the configuration as it is shipped, and nobody who publishes anything.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { look, on, PATIENCE, real, until } from "./stage.ts";

const BASELINE_MS = 90_000; // 25 samples and those until something goes wrong, one a second

on(readFileSync("../config.toml", "utf8"));

real("with the shipped configuration candles move, states change and a violation appears", async () => {
  const { page, wrong, go } = await look({ viewport: { width: 1200, height: 800 } });
  const picture = async (name: string) => {
    const folder = process.env["DASHBOARD_PICTURES"];
    if (folder) await page.screenshot({ path: `${folder}/shipped-${name}.png` });
  };

  await go("#/streams/bars", "bars");
  const close = async () => page.locator("figcaption[data-close]").getAttribute("data-close");
  await until(close);
  const first = await close();
  await until(async () => (await close()) !== first);

  await go("#/streams/state_machines", "state_machines");
  const row = page.getByRole("row", { name: /momentum BTCUSDT mock/ });
  await row.waitFor(PATIENCE);
  const rows = async () => (await page.getByRole("row", { name: /mock/ }).allTextContents()).join();
  assert.equal(await page.getByRole("row", { name: /mock/ }).count(), 4);
  const states = async () => (await rows()).match(/MONITORING|S1|O1|Z1|POSITION_ACTIVE|EXITED/g)?.join();
  const before = await states();
  await until(async () => (await states()) !== before);
  await picture("states");

  await go("#/streams/alerts", "alerts");
  const chart = page.locator("select", { hasText: "characteristic mock-diameter" });
  await chart.selectOption("mock-diameter");
  await page.getByText(/[1-9]\d* open violations?\./).waitFor({ timeout: BASELINE_MS });
  await page.getByRole("button", { name: /^Acknowledge Outlier of sample/ }).first().waitFor({ timeout: BASELINE_MS });
  await picture("violation");
  assert.deepEqual(wrong, []);
  await page.close();
}, 2 * BASELINE_MS);
