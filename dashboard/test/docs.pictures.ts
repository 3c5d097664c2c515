// The pictures of docs/: every page with something to see on it. `npm run pictures`, and then look at each.

import { mkdirSync, writeFileSync } from "node:fs";
import { after } from "node:test";
import type { Page } from "playwright-core";
import { GUARDED, type Look, look, on, PATIENCE, real, stage, TOKEN, trade } from "./stage.ts";

const OUT = process.env["DASHBOARD_PICTURES"] ?? "../docs";
const SIZE = { width: 1200, height: 800 };
const MINUTES = 70; // of candles
const DRAWN_MS = 300_000; // all of them
const CURVES_MS = 25_000; // until the curves have a shape

const CONFIG = GUARDED.replace(
  'settings = { source = "mock", interval = "100ms", symbols = ["AAPL"], resolutions = ["1"] }',
  'listen = ["ticks"]\nsettings = { source = "ticks", clock = "event", symbols = ["AAPL", "GOOGL", "MSFT"], resolutions = ["1"] }\nstream = { history = { events = 20_000 } }',
).replace('outbox = "16KiB"', 'outbox = "1MiB"');

on(CONFIG);

let seed = 7;
const chance = () => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
const listeners = new AbortController();
let market: NodeJS.Timeout | undefined;
after(() => {
  clearInterval(market);
  listeners.abort();
});

async function publish(stream: string, ...events: object[]): Promise<void> {
  const headers = { "content-type": "application/json", authorization: `Bearer ${TOKEN}` };
  const answer = await fetch(`http://${stage.daemon.admin}/v1/streams/${stream}/publish`, { method: "POST", headers, body: JSON.stringify(events) });
  if (answer.status !== 202) throw new Error(await answer.text());
}

const prices: Record<string, number> = { AAPL: 268, GOOGL: 412, MSFT: 391 };
function tick(symbol: string, time: number, busy = 1): object {
  prices[symbol]! += ((chance() - 0.49) * 0.9) / busy;
  return { type: "tick", topic: `ticks:${symbol}:X`, data: { symbol, time: Math.floor(time), price: Number(prices[symbol]!.toFixed(2)), size: Math.ceil((10 + chance() * 400) / busy) } };
}

/** What the daemon of these pictures has lived through. */
async function live(): Promise<void> {
  stage.daemon.publish = publish;
  for (const topic of ["bars", "bars:AAPL:1", "alerts", "state_machines"]) {
    void fetch(`http://${stage.daemon.clients}/v1/sse?topic=${topic}`, { signal: listeners.signal }).then((answer) => answer.text(), () => {}).catch(() => {});
  }
  await new Promise((heard) => setTimeout(heard, 500));
  const begin = Date.now() - MINUTES * 60_000;
  for (let minute = 0; minute < MINUTES; minute++) await publish("ticks", ...[5, 20, 38, 55].map((second) => tick("AAPL", begin + minute * 60_000 + second * 1000)));
  market = setInterval(() => void publish("ticks", ...Object.keys(prices).filter(() => chance() > 0.3).map((symbol) => tick(symbol, Date.now(), 12))).catch(() => {}), 200);
  const values = Array.from({ length: 58 }, () => 10 + (chance() + chance() + chance() - 1.5) * 1.6);
  [values[40], values[51], values[52], values[53]] = [13.6, 11.9, 12.1, 12.4];
  for (const value of values) await publish("samples", { type: "sample", data: { characteristic_id: 7, value: Number(value.toFixed(2)) } });
  await trade("exec_1");
  const of = (type: string, data: object) => ({ type, audience: "user-1", data });
  await publish(
    "user_events",
    of("CHAIN_UPDATE", { chainId: "c-17", status: "active", orders: [{ id: 1 }], symbol: "BTCUSDT" }),
    of("CIRCUIT_BREAKER_UPDATE", { isTriggered: true, triggerReason: "daily loss", resetTime: null }),
    of("PNL_UPDATE", { totalPnl: 132.5, dailyPnl: -12.25 }),
    of("SIGNAL_UPDATE", { id: "s-3", symbol: "ETHUSDT", side: "BUY", status: "pending" }),
  );
  stage.daemon.configure(CONFIG.replace('resolutions = ["1"]', 'resolutions = ["1", "5"]').replace('id = "strategy"', 'id = "strategy"\nstale_after = "1h"'));
  await new Promise((done) => setTimeout(done, CURVES_MS));
}

const VIEWS: Record<string, (found: Look) => Promise<unknown>> = {
  overview: ({ page }) => page.getByText("✓ applied").waitFor(PATIENCE),
  broadcasters: ({ go }) => go("#/broadcasters/bars", "Broadcasters"),
  streams: ({ go }) => go("#/streams", "Streams"),
  candles: async ({ page, go }) => {
    await go("#/streams/bars", "bars");
    await page.getByText(/AAPL, \d\d+ bars/).waitFor(PATIENCE);
  },
  control_chart: ({ go }) => go("#/streams/alerts", "alerts"),
  state_machines: ({ go }) => go("#/streams/state_machines", "state_machines"),
  cards: async ({ page, go }) => {
    await go("#/streams/user", "user");
    await page.getByLabel("User", { exact: true }).fill("user-1");
    await page.keyboard.press("Enter");
    await page.getByText("c-17").waitFor(PATIENCE);
  },
  connections: ({ go }) => go("#/connections", "Connections"),
  config: async ({ page, go }) => {
    await go("#/config", "Configuration");
    await page.getByLabel("Paste a config.toml", { exact: false }).fill('[hub]\noutbox = "1MiB"\nhistori = { events = 100 }\n\n[streams.ticks]\nvisible = "yes"\n');
    await page.getByRole("button", { name: "Check" }).click();
    await page.locator(".mistakes").waitFor(PATIENCE);
  },
};

async function draw(page: Page, name: string): Promise<void> {
  await new Promise((done) => setTimeout(done, 2500)); // some events
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 74 });
  mkdirSync(OUT, { recursive: true });
  writeFileSync(`${OUT}/dashboard-${name}.webp`, Buffer.from(data, "base64"));
  if (process.env["DASHBOARD_PICTURES"]) await page.screenshot({ path: `${OUT}/dashboard-${name}.png` });
}

for (const [colorScheme, names] of [
  ["light", Object.keys(VIEWS)],
  ["dark", ["overview"]],
] as const) {
  real(colorScheme, async () => {
    if (colorScheme === "light") await live();
    const found = await look({ colorScheme, viewport: SIZE });
    await found.page.getByLabel("Admin token").fill(TOKEN);
    await found.page.keyboard.press("Enter");
    for (const name of names) {
      await VIEWS[name]!(found);
      await draw(found.page, colorScheme === "dark" ? `${name}-dark` : name);
    }
    await found.page.close();
  }, DRAWN_MS);
}
