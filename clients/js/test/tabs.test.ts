// One connection for all tabs: who has it, who else is served by it, and what becomes of them when that tab goes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { tabs } from "../src/tabs.js";
import { Browser } from "./browser_of_tabs.js";
import { jwt, SERVICE_TOKEN, until } from "./daemon.js";
import { broken, open, real, short, shown, stage, tick } from "./stage.js";
import { diary } from "./virtual.js";

real("tabs share one connection, and each hears its own", async () => {
  const browser = new Browser();
  await stage.daemon.tick("A", 1);
  const [first, second] = [open({ socket: browser.tab().socket }), open({ socket: browser.tab().socket })];
  const heard = [first.subscribe("ticks", { symbol: "A" }), second.subscribe("ticks", { symbol: "A" }), second.subscribe("ticks", { symbol: "B" })].map(diary);
  await until(() => heard.every(({ length }) => length));
  await stage.daemon.tick("A", 2);
  await stage.daemon.tick("B", 3);
  await until(() => heard[2]!.length === 2);
  const third = diary(open({ socket: browser.tab().socket }).subscribe("ticks", { symbol: "A" }));
  await until(() => third.length === 2);
  for (const lines of [heard[0]!, heard[1]!, third]) assert.deepEqual(short(lines), [shown({ symbol: "A", price: 1 }), tick("A", 2)]);
  assert.deepEqual(short(heard[2]!).slice(1), [tick("B", 3)]);
  assert.equal(browser.connections.length, 1);
  assert.deepEqual((await stage.daemon.connections()).map(({ topics }) => topics.toSorted()), [["ticks:A:X", "ticks:B:X"]]);
});

real("when the tab with the connection crashes another takes over, and nobody misses anything", async () => {
  const browser = new Browser();
  const pages = [browser.tab(), browser.tab(), browser.tab()];
  const clients = pages.map(({ socket }) => open({ socket }));
  const heard = clients.map((client) => diary(client.subscribe("ticks", { symbol: "L" })));
  await until(() => heard.every(({ length }) => length));
  for (const lines of heard) lines.length = 0;
  await stage.daemon.tick("L", 1);
  await until(() => heard.every(({ length }) => length === 1));
  clients[0]!.close();
  pages[0]!.crash();
  for (let price = 2; price < 6; price++) await stage.daemon.tick("L", price);
  await until(() => heard[1]!.length === 5 && heard[2]!.length === 5);
  await stage.daemon.tick("L", 6);
  await until(() => heard[1]!.length === 6 && heard[2]!.length === 6);
  for (const lines of heard.slice(1)) assert.deepEqual(short(lines), [1, 2, 3, 4, 5, 6].map((price) => tick("L", price)));
  assert.equal((await stage.daemon.connections()).length, 1);
  assert.equal(browser.connections.length, 2);
});

real("a tab that goes takes its subscriptions along, and no others", async () => {
  const browser = new Browser();
  const [stays, crashes, closes] = [browser.tab(), browser.tab(), browser.tab()];
  const heard = diary(open({ socket: stays.socket }).subscribe("ticks", { symbol: "S" }));
  open({ socket: crashes.socket }).subscribe("ticks", { symbol: "C" });
  const client = open({ socket: closes.socket });
  client.subscribe("ticks", { symbol: "D" });
  const topics = async () => (await stage.daemon.connections())[0]?.topics.length;
  await until(async () => (await topics()) === 3);
  client.close();
  await until(async () => (await topics()) === 2);
  crashes.crash();
  await until(async () => (await topics()) === 1);
  await stage.daemon.tick("S", 1);
  await until(() => heard.at(-1)!.startsWith("tick"));
});

real("when the connection breaks every tab goes on where it was", async () => {
  const browser = new Browser();
  const clients = [open({ socket: browser.tab().socket }), open({ socket: browser.tab().socket })];
  const heard = clients.map((client) => diary(client.subscribe("ticks", { symbol: "N" })));
  await until(() => heard.every(({ length }) => length));
  for (const lines of heard) lines.length = 0;
  let lost = Promise.all(clients.map(broken));
  browser.connections.at(-1)!.terminate();
  await lost;
  for (let price = 0; price < 5; price++) await stage.daemon.tick("N", price);
  await until(() => heard.every(({ length }) => length === 5));
  await until(() => clients.every(({ isConnected }) => isConnected));
  lost = Promise.all(clients.map(broken));
  await stage.daemon.kill();
  await lost;
  await stage.daemon.start();
  await until(() => heard.every(({ length }) => length === 7));
  for (const lines of heard) assert.deepEqual(short(lines).slice(0, 5), [0, 1, 2, 3, 4].map((price) => tick("N", price)));
  for (const lines of heard) assert.deepEqual(lines.slice(5).map((line) => line.split(" ")[0]), ["gap", "full_update"]);
});

real("every tab may ask, publish and say who it is", async () => {
  const browser = new Browser();
  const token = () => SERVICE_TOKEN;
  const [first, second] = [open({ socket: browser.tab().socket, token }), open({ socket: browser.tab().socket, token })];
  assert.equal(typeof (await first.publish("ticks:P:X", "tick", {}))!.seq, "number");
  assert.equal(typeof (await second.publish("ticks:P:X", "tick", {}))!.seq, "number");
  await assert.rejects(second.command("alerts", "acknowledge", { violation_id: 999, reason: "Tool Change" }), { code: "command_failed" });
  const refused = diary(second.subscribe("nope"));
  await until(() => refused.length);
  assert.match(refused[0]!, /unknown_stream/);
});

real("tabs at an endpoint that wants to know everybody have one token, replaced in time", async () => {
  const browser = new Browser();
  let count = 0;
  const token = () => jwt("user-1", count++ < 2 ? 2 : 60);
  const heard = [1, 2].map(() => diary(open({ socket: browser.tab().socket, token }, "/v1/closed").subscribe("ticks", { symbol: "J" })));
  await until(() => heard.every(({ length }) => length) && count >= 4);
  await new Promise((over) => setTimeout(over, 2_000)); // the first token has ended by then
  await stage.daemon.tick("J", 1);
  await until(() => heard.every((lines) => lines.at(-1)!.startsWith("tick")));
  assert.equal(browser.connections.length, 1);
});

test("where there are no locks every tab has its own connection", () => {
  class Own {}
  const transport = tabs({ locks: undefined as any, socket: Own as any });
  if (!globalThis.navigator?.locks) assert.ok(new transport("ws://daemon.test/v1/ws", "broadcastd.v1") instanceof (Own as any));
});
