// What the tests of the pages share: a daemon that serves them, a browser that looks at them, and what went wrong in it.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import type { Browser, BrowserContextOptions, Page, Request, Route } from "playwright-core";
import { CONFIG, Daemon, missing, until } from "../../clients/js/test/daemon.ts";
import { browser } from "../../clients/js/test/pages.ts";

export { missing, until };
export const TOKEN = "an-admin-token-for-tests";
/** As the daemon of the client's tests, with a machine whose ways are declared. */
export const OPEN = CONFIG.replace(
  'settings = { initial = "MONITORING" }',
  `[[broadcasters.state_machines.settings.machines]]
id = "strategy"
initial = "MONITORING"
final = ["EXITED"]
states = [{ id = "MONITORING" }, { id = "S1" }, { id = "O1" }, { id = "POSITION_ACTIVE" }, { id = "EXITED" }]
transitions = [
  { from = "MONITORING", to = "S1", event = "signal" },
  { from = "S1", to = "O1", event = "order" },
  { from = "O1", to = "POSITION_ACTIVE", event = "filled" },
  { from = "O1", to = "MONITORING", event = "cancel" },
  { from = "POSITION_ACTIVE", to = "EXITED", event = "closed" },
]`,
);
/** The same, where whoever asks more than how it is has to show a token. */
export const GUARDED = `${OPEN}\n[admin]\ntoken = { env = "DASHBOARD_TEST_TOKEN" }\n`;
process.env["DASHBOARD_TEST_TOKEN"] = TOKEN;

/** Every page by its address, with its heading. */
export const PAGES = [
  ["#/", "Overview"],
  ["#/broadcasters/bars", "Broadcasters"],
  ["#/streams", "Streams"],
  ["#/streams/bars", "bars"],
  ["#/streams/alerts", "alerts"],
  ["#/streams/state_machines", "state_machines"],
  ["#/streams/user", "user"],
  ["#/connections", "Connections"],
  ["#/config", "Configuration"],
] as const;

const LIMIT_MS = 120_000; // for a test that waits for what never comes, on a machine that does other things
export const PATIENCE = { timeout: 15_000 };

export const stage: { daemon: Daemon; browser: Browser } = { daemon: undefined as never, browser: undefined as never };

export function on(config: string): void {
  before(async () => {
    if (!missing) [stage.daemon, stage.browser] = await Promise.all([Daemon.start(config), browser()]);
  });
  after(async () => {
    await stage.browser?.close();
    await stage.daemon?.end();
  });
}

/** A page of the dashboard, with everything that it did on the network and complained of. */
export interface Look {
  page: Page;
  sockets: string[];
  asked: string[];
  /** Whole addresses of all that was asked, with those of the sockets. */
  addresses: string[];
  wrong: string[];
  /** Opens a page by its address behind the #, and waits for its heading and for what it asks. */
  go: (path: string, heading: string) => Promise<void>;
}

const AXE = readFileSync("node_modules/axe-core/axe.min.js", "utf8");

export async function look(options: BrowserContextOptions = {}): Promise<Look> {
  const context = await stage.browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
  await context.addInitScript(AXE); // by the browser itself, for no page lets it in
  if (process.env["DASHBOARD_FRESH"]) {
    await context.grantPermissions(["local-network-access"]); // for a page that comes from nowhere
    await context.route(/\/(assets\/.*)?$/, fresh);
  }
  const page = await context.newPage();
  const found: Look = { page, sockets: [], asked: [], addresses: [], wrong: [], go: async () => {} };
  page.on("websocket", (socket) => found.sockets.push(socket.url()) && found.addresses.push(socket.url()));
  page.on("request", (request) => found.addresses.push(request.url()));
  page.on("request", (request) => found.asked.push(`${request.method()} ${new URL(request.url()).pathname}`));
  const pending = new Set<Request>();
  page.on("request", (request) => !endless(request) && pending.add(request));
  for (const end of ["requestfinished", "requestfailed"] as const) page.on(end as "requestfinished", (request) => pending.delete(request));
  page.on("pageerror", (error) => found.wrong.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && found.wrong.push(message.text()));
  await page.goto(`http://${stage.daemon.admin}/`);
  found.go = async (path, heading) => {
    await page.evaluate((to) => void (location.hash = to), path);
    await page.getByRole("heading", { level: 1, name: heading }).waitFor(PATIENCE);
    await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
    await until(() => pending.size === 0);
  };
  return found;
}

/** What is heard of a user is one answer that does not end. */
const endless = (request: Request) => new URL(request.url()).pathname === "/v1/sse";

/** For who works on the pages: the built ones of this folder, in place of those that the daemon was built with. */
async function fresh(route: Route): Promise<void> {
  const { pathname } = new URL(route.request().url());
  const folder = process.env["DASHBOARD_FRESH"];
  if (pathname !== "/") return route.fulfill({ path: `${folder}${pathname}` });
  // With the daemon's own headers, which say what the page may do.
  await route.fulfill({ response: await route.fetch(), path: `${folder}/index.html` });
}

/** What axe finds on a page as it is, and fields that nothing but a placeholder names: axe takes that for a name. */
export async function barriers(page: Page): Promise<string[]> {
  const { violations } = await page.evaluate(() => (window as any).axe.run());
  const unnamed = await page.evaluate(() => {
    const fields = [...document.querySelectorAll<HTMLInputElement>("input, select, textarea")];
    const text = (label: Element) => [...label.childNodes].filter((node) => !(node instanceof HTMLSelectElement)).map((node) => node.textContent).join("").trim();
    return fields.filter((field) => !field.ariaLabel && ![...(field.labels ?? [])].some(text)).map((field) => `unnamed: ${field.outerHTML}`);
  });
  return [...violations.flatMap((each: any) => each.nodes.map((node: any) => `${each.id}: ${node.html} ${node.failureSummary}`)), ...unnamed];
}

export function real(name: string, run: () => Promise<void>, timeout = LIMIT_MS): void {
  test(name, { skip: missing, timeout }, run);
}

export const sha = (text: string) => createHash("sha256").update(text).digest("hex");

/** So many samples of a characteristic, of which the last may be far out. */
export async function measure(values: number[], characteristic_id: number | string = 7): Promise<void> {
  await stage.daemon.publish("samples", ...values.map((value) => ({ type: "sample", data: { characteristic_id, value } })));
}

/** A session with two strategies that go through some states. */
export async function trade(session_id = "exec_1"): Promise<void> {
  const tell = (type: string, data: object) => stage.daemon.publish("sessions", { type, data: { session_id, ...data } });
  await tell("session.started", { strategies: ["momentum", "grid"], symbols: ["BTCUSDT", "ETHUSDT"] });
  const goes = (strategy_id: string, symbol: string, to: string) => tell("instance.transition", { strategy_id, symbol, to });
  for (const to of ["S1", "O1", "POSITION_ACTIVE"]) await goes("momentum", "BTCUSDT", to);
  await goes("grid", "ETHUSDT", "S1");
}

/** A page that has shown the admin token. */
export async function enter() {
  const found = await look();
  await found.page.getByLabel("Admin token").fill(TOKEN);
  await found.page.getByRole("button", { name: "Enter" }).click();
  await found.page.getByRole("heading", { name: "Overview" }).waitFor(PATIENCE);
  return found;
}
