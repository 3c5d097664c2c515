// The client and the real daemon: what virtual time takes for granted.

import assert from "node:assert/strict";
import type { Clock } from "../src/options.js";
import { jwt, SERVICE_TOKEN, until } from "./daemon.js";
import { broken, open, real, short, shown, stage, tick } from "./stage.js";
import { diary } from "./virtual.js";

const HOUR_S = 3_600;

real("everybody hears all of their own once, over one connection", async () => {
  const client = open();
  await stage.daemon.tick("A", 1);
  const subscriptions = [client.subscribe("ticks", { symbol: "A" }), client.subscribe("ticks:A:X"), client.subscribe("ticks"), client.subscribe("ticks", { symbol: ["A", "B"] })];
  const heard = subscriptions.map(diary);
  await until(() => subscriptions.every(({ state }) => state === "live") && heard.every(({ length }) => length));
  await stage.daemon.tick("A", 2);
  await stage.daemon.tick("B", 3);
  await stage.daemon.publish("ticks", { type: "note", data: {} });
  await until(() => heard.every((lines) => lines.at(-1)!.startsWith("note")));
  for (const lines of [heard[0]!, heard[1]!]) assert.deepEqual(short(lines), [shown({ symbol: "A", price: 1 }), tick("A", 2), "note {}"]);
  for (const lines of [heard[2]!, heard[3]!]) assert.deepEqual(short(lines).slice(-3), [tick("A", 2), tick("B", 3), "note {}"]);
  assert.equal((await stage.daemon.connections()).length, 1);

  subscriptions[1]!.close();
  subscriptions[3]!.close();
  await until(async () => (await stage.daemon.connections())[0]!.topics.length === 2);
  await stage.daemon.tick("A", 4);
  await until(() => heard[0]!.at(-1)!.endsWith('"price":4}'));
  assert.equal(client.state, "connected");
});

real("what happens while the connection is broken is heard after it, exactly", async () => {
  const client = open();
  const [one, all] = [client.subscribe("ticks", { symbol: "R" }), client.subscribe("ticks")].map(diary) as [string[], string[]];
  await until(() => one.length && all.length);
  for (let round = 0; round < 3; round++) {
    one.length = all.length = 0;
    const lost = broken(client);
    stage.sockets.at(-1)!.terminate();
    await lost;
    for (let price = 0; price < 5; price++) {
      await stage.daemon.tick("R", price);
      await stage.daemon.tick("S", price);
    }
    await until(() => client.isConnected);
    await stage.daemon.tick("R", 9);
    await until(() => one.at(-1)?.endsWith('"price":9}') && all.at(-1)?.endsWith('"price":9}'));
    const expected = [0, 1, 2, 3, 4, 9].map((price) => tick("R", price));
    assert.deepEqual(short(one), expected);
    assert.deepEqual(short(all), [...[0, 1, 2, 3, 4].flatMap((price) => [tick("R", price), tick("S", price)]), tick("R", 9)]);
  }
});

real("what the history has lost is a gap and a snapshot", async () => {
  const late = { setTimeout: (run: () => void, ms: number) => setTimeout(run, ms), clearTimeout, random: () => 1 }; // events come first
  const client = open({ clock: late });
  const heard = diary(client.subscribe("ticks", { symbol: "H" }));
  await until(() => heard.length);
  const lost = broken(client);
  stage.sockets.at(-1)!.terminate();
  await lost;
  const events = Array.from({ length: 120 }, (_, index) => ({ type: "tick", topic: "ticks:H:X", key: "H", data: { symbol: "H", price: index + 1 } }));
  await stage.daemon.publish("ticks", ...events);
  await until(() => heard.length >= 3);
  assert.match(heard[1]!, /^gap \{"reason":"resume"/);
  assert.deepEqual(short(heard.slice(2)), [shown({ symbol: "H", price: 120 })]);
});

real("a daemon that was killed and comes back is a gap and a snapshot", async () => {
  const client = open();
  const heard = diary(client.subscribe("ticks", { symbol: "K" }));
  await until(() => heard.length);
  await stage.daemon.tick("K", 1);
  await until(() => heard.length === 2);
  const lost = broken(client);
  await stage.daemon.kill();
  await lost;
  await stage.daemon.start();
  await until(() => heard.length === 4);
  await stage.daemon.tick("K", 2);
  await until(() => heard.length === 5);
  assert.match(heard[2]!, /^gap \{"reason":"resume","from":\{"epoch"/);
  assert.deepEqual(short(heard.slice(3)), ["full_update {}", tick("K", 2)]);
});

real("who reads too slowly is told, and shown the state of exactly what is its own", async () => {
  const client = open();
  const heard = ["L", "M"].map((symbol) => diary(client.subscribe("ticks", { symbol })));
  await until(() => heard.every(({ length }) => length));
  const socket = (stage.sockets.at(-1) as any)._socket;
  socket.pause();
  const text = "x".repeat(4096);
  for (let round = 0; round < 60; round++) {
    const events = Array.from({ length: 30 }, (_, index) => ({ type: "tick", topic: "ticks:L:X", key: "L", data: { round, index, text } }));
    await stage.daemon.publish("ticks", ...events, { type: "tick", topic: "ticks:M:X", key: "M", data: { symbol: "M", round } });
    const { outbox_bytes, lagged } = (await stage.daemon.connections())[0] as any;
    if (lagged || outbox_bytes > 16_384) break;
  }
  await stage.daemon.publish("ticks", { type: "tick", topic: "ticks:L:X", key: "L", data: { last: "L" } }, { type: "tick", topic: "ticks:M:X", key: "M", data: { last: "M" } });
  socket.resume();
  const isSettled = (lines: string[], symbol: string) => lines.some((line) => line.startsWith("gap")) && lines.at(-1)!.endsWith(`{"last":"${symbol}"}]}`);
  await until(() => isSettled(heard[0]!, "L") && isSettled(heard[1]!, "M"));
  assert.match(heard[1]!.find((line) => line.startsWith("gap"))!, /"reason":"lagged","from":.*"dropped":\d+/);
  assert.deepEqual(short(heard[1]!.slice(-1)), [shown({ last: "M" })]);
});

real("whoever has the right publishes and gives commands", async () => {
  const client = open({ token: SERVICE_TOKEN });
  const violations: any[] = [];
  const acknowledged: any[] = [];
  const alerts = client.subscribe("alerts", { characteristic_ids: [7] });
  alerts.on("violation", (data) => violations.push(data)).on("ack_update", (data) => acknowledged.push(data));
  await until(() => alerts.state === "live");
  await stage.daemon.publish("samples", { type: "sample", data: { characteristic_id: 7, value: 99 } });
  await until(() => violations.length);
  const reason = "Tool Change";
  await client.command("alerts", "acknowledge", { violation_id: violations[0].violation_id, reason });
  await until(() => acknowledged.length);
  assert.deepEqual([acknowledged[0].user, acknowledged[0].reason], ["service:tests", reason]);
  await assert.rejects(client.command("alerts", "acknowledge", { violation_id: violations[0].violation_id, reason }), { code: "command_failed" });
  assert.equal(typeof (await client.publish("ticks:P:X", "tick", { price: 1 }))!.seq, "number");
  await assert.rejects(open().publish("ticks:P:X", "tick", {}), { code: "authentication_required" });
});

real("a token that proves nothing ends it, where it is given once", async () => {
  const client = open({ token: "wrong" });
  client.open();
  await until(() => client.state === "closed");
  assert.match(client.reason, /\(4001\)/);
});

real("an endpoint that wants to know everybody lets in who has a token, and replaces it in place", async () => {
  // The timer for a new token, which is far off, runs when the test says so.
  let renew: (() => void) | undefined;
  const clock: Clock = {
    setTimeout: (run, ms) => {
      if (ms > (HOUR_S * 1000) / 2) renew = run;
      return setTimeout(run, ms);
    },
    clearTimeout: (timer: any) => clearTimeout(timer),
    random: Math.random,
  };
  let count = 0;
  const client = open({ clock, token: () => jwt("user-1", ++count * HOUR_S) }, "/v1/closed");
  const heard = diary(client.subscribe("ticks", { symbol: "J" }));
  await until(() => heard.length && renew);
  assert.equal(count, 1);
  const told: any[] = [];
  stage.sockets[0]!.on("message", (text) => told.push(...String(text).split("\n").map((line) => JSON.parse(line).data)));
  renew!();
  await until(() => told.some(({ status }) => status === "authenticated"));
  const { user, expires } = told.find(({ status }) => status === "authenticated");
  assert.equal(user, "user-1");
  assert.ok(Date.parse(expires) - Date.now() > 1.5 * HOUR_S * 1000, `the second token counts: ${expires}`);
  assert.equal(count, 2);
  await stage.daemon.tick("J", 1);
  await until(() => heard.length === 2);
  assert.equal(stage.sockets.length, 1);
  const stranger = open({}, "/v1/closed");
  stranger.subscribe("ticks");
  await until(() => stranger.state === "closed");
});

real("a stream that is not there says which are", async () => {
  const client = open();
  const heard = diary(client.subscribe("nope"));
  await until(() => heard.length);
  assert.match(heard[0]!, /valid streams: alerts, bars, state_machines, ticks/);
});
