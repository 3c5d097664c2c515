// The client in a real browser: one connection for a page of four components, and for all tabs.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before } from "node:test";
import type { Browser, Page } from "playwright-core";
import { missing, until } from "./daemon.js";
import { browser, Pages } from "./pages.js";
import { real, stage } from "./stage.js";

let chromium: Browser;
let pages: Pages;

before(async () => {
  if (missing) return;
  [chromium, pages] = await Promise.all([browser(), new Pages().start()]);
});
after(async () => {
  await chromium?.close();
  pages?.end();
});

/** The addresses of every WebSocket that the browser opened for a page, as its network log has them. */
function sockets(page: Page): string[] {
  const urls: string[] = [];
  page.on("websocket", (socket) => urls.push(socket.url()));
  return urls;
}

function mistakes(page: Page): string[] {
  const said: string[] = [];
  page.on("pageerror", (error) => said.push(String(error)));
  page.on("console", (message) => message.type() === "error" && said.push(message.text()));
  return said;
}

const attached = { state: "attached", timeout: 10_000 } as const; // what is empty cannot be seen
const heard = (page: Page): Promise<string[]> => page.evaluate("heard");
const text = (page: Page, selector: string) => page.locator(selector).textContent();

real("four components on one page have one connection, and show what happens", async () => {
  await pages.page("/panels", "panels.tsx");
  const page = await chromium.newPage();
  const [opened, wrong] = [sockets(page), mistakes(page)];
  const session_id = "exec_20251229_155227_b7f11eaa";
  const happens = (type: string, data: object) => stage.daemon.publish("sessions", { type, session_id, data });
  await page.goto(`${pages.address}/panels?daemon=${stage.daemon.clients}`);
  await page.waitForSelector("main[data-connected=true] #states[data-status=live]", attached);

  await happens("session.started", { strategies: ["pump"], symbols: ["BTC"] });
  await happens("instance.transition", { strategy_id: "pump", symbol: "BTC", to: "S1" });
  await stage.daemon.tick("PUMP", 7);
  await stage.daemon.publish("samples", { type: "sample", data: { characteristic_id: 7, value: 99 } });
  await until(async () => (await text(page, "#states")) === "pump BTC S1" && (await text(page, "#progress")) === "1");
  await until(async () => (await text(page, "#ticks")) === '{"symbol":"PUMP","price":7}' && Number(await text(page, "#alerts")) >= 2);
  await page.waitForSelector("#ticks[data-refused=unknown_stream]", attached);

  await page.click("#watch");
  await until(async () => (await stage.daemon.connections())[0]!.topics.includes("ticks:DUMP:X"));
  await stage.daemon.tick("PUMP", 8);
  await stage.daemon.tick("DUMP", 9);
  await until(async () => (await text(page, "#ticks")) === '{"symbol":"DUMP","price":9}');
  await until(async () => !(await stage.daemon.connections())[0]!.topics.includes("ticks:PUMP:X"));

  await page.click("#toggle");
  await until(async () => (await page.locator("#states").count()) === 0);
  await happens("instance.transition", { strategy_id: "pump", symbol: "BTC", to: "O1" });
  await page.click("#toggle");
  await until(async () => (await text(page, "#states")) === "pump BTC O1");
  await happens("session.stopped", {});
  await until(async () => (await text(page, "#states")) === "" && (await text(page, "#progress")) === "0");
  assert.deepEqual(opened, [`ws://${stage.daemon.clients}/v1/ws`]);
  assert.deepEqual(wrong, []);
  assert.equal((await stage.daemon.connections()).length, 1);
  await page.close();
});

real("two tabs have one connection, and the one that stays goes on without a gap", async () => {
  await pages.page("/tab", "tab.ts");
  const context = await chromium.newContext();
  const open = async () => {
    const page = await context.newPage();
    const opened = sockets(page);
    await page.goto(`${pages.address}/tab?daemon=${stage.daemon.clients}`);
    await until(async () => (await heard(page)).length);
    return { page, opened };
  };
  const [first, second] = [await open(), await open()];
  await stage.daemon.tick("TAB", 1);
  for (const { page } of [first, second]) await until(async () => (await heard(page)).includes("tick 1"));
  await until(async () => first.opened.length);
  assert.deepEqual([first.opened.length, second.opened.length], [1, 0]);
  assert.equal((await stage.daemon.connections()).length, 1);

  await first.page.close();
  for (const price of [2, 3, 4]) await stage.daemon.tick("TAB", price);
  await until(async () => (await heard(second.page)).includes("tick 4"));
  assert.deepEqual(await heard(second.page), ["full_update", "tick 1", "tick 2", "tick 3", "tick 4"]);
  await until(async () => second.opened.length); // the browser tells of it on a way of its own
  assert.equal(second.opened.length, 1);
  await context.close();
});

real("a page whose WebSockets are cut hears by server-sent events", async () => {
  await pages.page("/fallback", "fallback.ts");
  const page = await chromium.newPage();
  await page.routeWebSocket(/.*/, (socket) => socket.close());
  await page.goto(`${pages.address}/fallback?daemon=${stage.daemon.clients}`);
  await until(async () => (await heard(page)).length);
  await stage.daemon.tick("SSE", 1);
  await until(async () => (await heard(page)).length === 2);
  assert.deepEqual(await heard(page), ["full_update", "tick 1"]);
  await page.close();
});

real("it runs in a worker", async () => {
  await pages.page("/worker", "worker.ts");
  const page = await chromium.newPage();
  await page.goto(`${pages.address}/worker`);
  await page.evaluate(`heard = []; new Worker("/worker.js?daemon=${stage.daemon.clients}", { type: "module" }).onmessage = ({ data }) => heard.push(data)`);
  await until(async () => (await heard(page)).includes("full_update"));
  await page.close();
});

real("the page of the README works as it is pasted", async () => {
  const readme = readFileSync("README.md", "utf8");
  const [, pasted] = /```html\n(<!doctype html>[\s\S]*?)```/.exec(readme) ?? [];
  assert.ok(pasted, "there is one");
  assert.ok(pasted.trim().split("\n").length <= 20);
  pages.built();
  pages.html("/pasted", pasted.replace("127.0.0.1:8080", stage.daemon.clients));
  const page = await chromium.newPage();
  const [opened, wrong] = [sockets(page), mistakes(page)];
  await page.goto(`${pages.address}/pasted`);
  await until(async () => /AAPL.*\d+\.\d\d/.test((await text(page, "body"))!) && (await text(page, "#state")) === "connected");
  assert.equal(opened.length, 1);
  assert.deepEqual(wrong, []);
  await page.close();
});
