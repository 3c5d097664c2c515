// The pages with live data of a real daemon that asks for no token.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { jwt } from "../../clients/js/test/daemon.ts";
import { barriers, look, measure, on, OPEN, PAGES, PATIENCE, real, stage, trade, until } from "./stage.ts";
import { test } from "node:test";

on(OPEN);

real("one visit to every page opens exactly one WebSocket and asks for nothing on its own", async () => {
  await measure([10, 11, 9, 10, 20]);
  await trade("visit");
  const { page, sockets, asked, wrong, go } = await look();
  await page.getByText("✓ Ready", { exact: true }).waitFor(PATIENCE);
  for (const [path, heading] of PAGES) await go(path, heading);
  const before = asked.length;
  // Three figures later: whoever polled would have asked by now.
  await go("#/", "Overview");
  const tile = page.locator(".uplot").first();
  await tile.waitFor(PATIENCE);
  const upto = asked.length;
  assert.ok(upto - before <= 2, asked.slice(before).join());
  for (let seen = 0, last = ""; seen < 3; ) {
    const says = await page.locator("figcaption").nth(1).textContent();
    if (says !== last) [last, seen] = [says!, seen + 1];
    await new Promise((again) => setTimeout(again, 50));
  }
  assert.deepEqual(asked.slice(upto), []);
  assert.deepEqual(sockets, [`ws://${stage.daemon.admin}/v1/ws`]);
  assert.deepEqual(wrong, [], "neither mistakes nor violations of the policy");
  await page.close();
});

real("candles move", async () => {
  const { page, wrong, go } = await look();
  await go("#/streams/bars", "bars");
  const close = async () => page.locator("figcaption[data-close]").getAttribute("data-close");
  await until(close);
  const first = await close();
  await until(async () => (await close()) !== first);
  await page.locator(".candles canvas").first().waitFor(PATIENCE);
  // What its licence asks for, on the page that it draws on.
  await page.getByText("TradingView Lightweight Charts™ Copyright (c)").waitFor(PATIENCE);
  await page.getByRole("link", { name: "https://www.tradingview.com/" }).waitFor(PATIENCE);
  assert.deepEqual(wrong, []);
  await page.close();
});

real("calls into plugins are shown as they are now, without a question", async () => {
  const { page, asked, wrong, go } = await look();
  await go("#/broadcasters", "Broadcasters");
  const row = page.getByRole("row", { name: /^bars/ });
  // The mock has a timer of 100 ms: about ten calls a second, and their p50 and p99.
  await until(async () => /\d\/s[\d.]+ (µs|ms)[\d.]+ (µs|ms)/.test((await row.textContent())!));
  const moves = async () => {
    const before = await row.textContent();
    await until(async () => (await row.textContent()) !== before);
  };
  // What is asked because broadcasters were told may still be on its way.
  await until(async () => {
    const upto = asked.length;
    await moves();
    await moves();
    return asked.length === upto;
  });
  assert.deepEqual(wrong, []);
  await page.close();
});

real("states change, and the graph knows where everybody is", async () => {
  const { page, wrong, go } = await look();
  await go("#/streams/state_machines", "state_machines");
  await trade("live");
  const row = page.getByRole("row", { name: /momentum BTCUSDT live/ });
  await row.getByText("POSITION_ACTIVE").waitFor(PATIENCE);
  const graph = page.getByRole("img", { name: /Machine strategy/ });
  assert.match((await graph.getAttribute("aria-label"))!, /O1 to POSITION_ACTIVE was taken \d+ times/);
  await stage.daemon.publish("sessions", { type: "instance.transition", data: { session_id: "live", strategy_id: "grid", symbol: "BTCUSDT", to: "EXITED" } });
  await page.getByText("grid BTCUSDT: MONITORING → EXITED, no transition").waitFor(PATIENCE);
  await stage.daemon.publish("sessions", { type: "session.stopped", data: { session_id: "live" } });
  await row.waitFor({ state: "detached", ...PATIENCE });
  assert.deepEqual(wrong, []);
  await page.close();
});

real("a violation is shown and acknowledged by a click", async () => {
  const { page, wrong, go } = await look();
  await measure([10, 11, 9, 10], "bore");
  await go("#/streams/alerts", "alerts");
  await page.locator("select", { hasText: "characteristic bore" }).selectOption("bore");
  await page.getByText("4 samples").waitFor(PATIENCE);
  await measure([99], "bore");
  await page.getByText("1 open violation.").waitFor(PATIENCE);
  await page.getByLabel("Acknowledge as").selectOption("Tool Change");
  await page.getByRole("button", { name: "Acknowledge Outlier of sample 5" }).click();
  await page.getByText("Tool Change, operator:admin").waitFor(PATIENCE);
  await page.getByText("No open violations.").waitFor(PATIENCE);
  assert.deepEqual(wrong, []);
  await page.close();
});

real("a tail is held, filtered, and goes on", async () => {
  const { page, go } = await look();
  await go("#/streams/ticks", "ticks");
  const tail = page.getByRole("log");
  await page.getByText("Nothing yet").waitFor(PATIENCE);
  await until(async () => (await stage.daemon.connections()).some(({ topics }) => topics.some((topic) => topic.startsWith("ticks"))));
  await stage.daemon.tick("AAA", 1);
  await tail.getByText('"symbol":"AAA"').waitFor(PATIENCE);
  await page.getByRole("button", { name: "Pause" }).click();
  await stage.daemon.tick("BBB", 2);
  await page.getByRole("button", { name: "Go on (1 new)" }).waitFor(PATIENCE);
  assert.equal(await tail.getByText('"symbol":"BBB"').count(), 0);
  await page.getByRole("button", { name: "Go on" }).click();
  await tail.getByText('"symbol":"BBB"').waitFor(PATIENCE);
  await page.getByLabel("Only events with these words").fill("aaa tick");
  await until(async () => (await tail.locator("details").count()) === 1);
  await page.close();
});

real("a reload that is refused is shown with its mistakes, and one that is taken with what it changes", async () => {
  const { page, wrong } = await look();
  await page.getByText("None since the start").waitFor(PATIENCE);
  stage.daemon.configure(`${OPEN}\n[hubb]\nping = 3\n`);
  await page.getByText(/Refused at .*: 1 mistake\./).waitFor(PATIENCE);
  await page.getByText("Ready, with remarks").waitFor(PATIENCE);
  assert.match((await page.getByText(/the last reload was refused/).textContent())!, /hubb/);
  await page.locator("section", { hasText: "Last reload" }).getByText("unknown key `hubb`", { exact: true }).waitFor(PATIENCE);
  stage.daemon.configure(OPEN.replace('interval = "100ms"', 'interval = "50ms"'));
  await page.getByText(/~ broadcaster bars: .*/).waitFor(PATIENCE);
  await page.getByText("✓ Ready", { exact: true }).waitFor(PATIENCE);
  assert.deepEqual(wrong, []);
  await page.close();
});

real("tables are sorted by the keyboard and say so, and a connection is closed", async () => {
  const { page, go } = await look();
  await go("#/streams", "Streams");
  const header = page.getByRole("columnheader", { name: "Name" });
  assert.equal(await header.getAttribute("aria-sort"), "ascending");
  const first = async () => page.getByRole("rowheader").first().textContent();
  assert.equal(await first(), "alerts");
  await header.getByRole("button").focus();
  await page.keyboard.press("Enter");
  assert.equal(await header.getAttribute("aria-sort"), "descending");
  assert.equal(await first(), "user_events");

  const before = (await stage.daemon.connections()).map(({ id }) => id);
  const other = await look();
  await other.page.getByRole("status").getByText("live").waitFor(PATIENCE);
  const { id } = (await stage.daemon.connections()).find(({ id }) => !before.includes(id))!;
  await go("#/connections", "Connections");
  await page.getByRole("button", { name: `Close ${id}` }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
  await page.getByText(`${id} is closed.`).waitFor(PATIENCE);
  await other.page.getByRole("status").getByText("ended").waitFor(PATIENCE);
  await other.page.close();
  await page.close();
});

real("without a token, what changes the daemon says what is missing", async () => {
  const { page, go } = await look();
  await go("#/broadcasters/bars", "Broadcasters");
  await page.getByRole("button", { name: "Restart…" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Restart" }).click();
  await page.getByRole("alert").getByText("set admin.token").waitFor(PATIENCE);
  await page.close();
});

for (const colorScheme of ["light", "dark"] as const) {
  real(`nothing keeps anybody out, ${colorScheme}`, async () => {
    await measure([10, 11, 9, 10, 20], colorScheme);
    await trade(colorScheme);
    const { page, go } = await look({ colorScheme });
    for (const [path, heading] of PAGES) {
      await go(path, heading);
      assert.deepEqual(await barriers(page), [], path);
    }
    await page.close();
  });
}

for (const colorScheme of ["light", "dark"] as const) {
  real(`a user's own token shows that user's cards where nobody needs another, ${colorScheme}`, async () => {
    const chain = (user: string, status: string) => ({ type: "CHAIN_UPDATE", audience: user, data: { chainId: `of ${user}`, orders: [], status } });
    const users = [`ann ${colorScheme}`, `bob ${colorScheme}`] as const;
    await stage.daemon.publish("user_events", ...users.map((user) => chain(user, "active")));
    const { page, addresses, sockets, go } = await look({ colorScheme });
    await go("#/streams/user", "user");
    const [token, field, show] = [jwt(users[0], 3600), page.getByLabel("own token"), page.getByRole("button", { name: "Show" })];
    assert.equal(await field.getAttribute("type"), "password");
    await field.fill(`${token}x`);
    await show.click();
    await page.getByRole("alert").getByText("the token").waitFor(PATIENCE);
    assert.equal(await page.locator(".cards li").count(), 0);
    assert.deepEqual(await barriers(page), []);
    await field.fill(token);
    await page.keyboard.press("Enter");
    await page.getByText(`of ${users[0]}`).waitFor(PATIENCE);
    await page.locator(".panel header").getByText("live").waitFor(PATIENCE);
    await stage.daemon.publish("user_events", chain(users[1], "completed"), chain(users[0], "completed"));
    await page.getByText("completed").waitFor(PATIENCE);
    assert.equal(await page.locator(".cards li").count(), 1);
    assert.equal(await page.getByText("of bob").count(), 0);
    assert.deepEqual(await barriers(page), []);
    assert.equal(await field.inputValue(), "");
    const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie, location.href]));
    assert.ok(!kept.includes(token) && !addresses.some((address) => address.includes(token)), "it is nowhere but in memory");
    await page.getByLabel("User", { exact: true }).fill(users[1]);
    await field.fill(token);
    await show.click();
    await page.getByRole("alert").getByText("send one of them").waitFor(PATIENCE);
    assert.equal(await page.locator(".cards li").count(), 0);
    assert.equal(sockets.length, 1);
    await page.close();
  });
}

test("the first load stays small, and candles are apart", () => {
  const size = (name: string) => gzipSync(readFileSync(`dist/assets/${name}`), { level: 9 }).length;
  const scripts = readdirSync("dist/assets").filter((name) => name.endsWith(".js"));
  const first = scripts.filter((name) => readFileSync("dist/index.html", "utf8").includes(name));
  const bytes = first.reduce((sum, name) => sum + size(name), 0);
  assert.ok(bytes <= 60 * 1024, `${bytes} bytes`);
  assert.deepEqual(scripts.filter((name) => !first.includes(name)).map((name) => name.split("-")[0]), ["candles"]);
});
