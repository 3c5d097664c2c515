// What who comes late or back is told: snapshots, positions, gaps.

import assert from "node:assert/strict";
import { test } from "node:test";
import { APPLE, diary, event, listening, reconnect, snapshot, system, turn, world } from "./virtual.js";

test("a late listener is shown the snapshot and what has happened since, at once", async () => {
  const w = await listening();
  w.socket.say(event("bar", "bars:AAPL:1", 6));
  const heard = diary(w.client.subscribe("bars", APPLE));
  await turn();
  assert.deepEqual(heard, ['full_update 5 {"bars":[1]}', "bar 6 {}"]);
  assert.deepEqual(w.heard, ["bar 6 {}"], "others hear nothing twice");
  assert.equal(w.socket.said.length, 1, "nobody is asked");
});

test("who keeps no state hears only what happens from now on", async () => {
  const w = await listening();
  w.socket.say(event("bar", "bars:AAPL:1", 6));
  const heard: number[] = [];
  w.client.subscribe("bars", APPLE).on("bar", (_, { seq }) => heard.push(seq!));
  await turn();
  w.socket.say(event("bar", "bars:AAPL:1", 7));
  assert.deepEqual(heard, [7]);
});

test("after much has happened a late listener gets a new snapshot, and nobody else", async () => {
  const w = await listening();
  for (let seq = 6; seq < 6 + 300; seq++) w.socket.say(event("bar", "bars:AAPL:1", seq));
  w.heard.length = 0;
  const heard = [diary(w.client.subscribe("bars", APPLE)), diary(w.client.subscribe("bars", APPLE))];
  await turn();
  assert.equal(w.socket.said.length, 2, "asked once for both");
  const asked = w.socket.last("snapshot");
  w.socket.say(event("bar", "bars:AAPL:1", 306));
  w.socket.say({ ...system("response", { status: "snapshot", topic: "bars:AAPL:1", epoch: "e" }), stream: "bars", seq: 306, id: asked.id });
  w.socket.say(snapshot("bars:AAPL:1", 306, { bars: [9] }), event("bar", "bars:AAPL:1", 307));
  for (const diary of heard) assert.deepEqual(diary, ['full_update 306 {"bars":[9]}', "bar 307 {}"]);
  assert.deepEqual(w.heard, ["bar 306 {}", "bar 307 {}"]);
});

test("as many events as the tape holds are shown to who comes late", async () => {
  const w = await listening();
  for (let seq = 6; seq < 6 + 256; seq++) w.socket.say(event("bar", "bars:AAPL:1", seq));
  const heard = diary(w.client.subscribe("bars", APPLE));
  await turn();
  assert.equal(heard.length, 257);
  w.socket.say(event("bar", "bars:AAPL:1", 6 + 256));
  diary(w.client.subscribe("bars", APPLE));
  await turn();
  assert.ok(w.socket.last("snapshot"), "one more, and a new snapshot is cheaper");
});

test("after a break everything is subscribed to again in one text, with positions", async () => {
  const w = await listening();
  const alerts = w.client.subscribe("alerts");
  await turn();
  w.socket.subscribed(w.socket.last("subscribe"), "alerts", 3, { samples: [] });
  w.socket.say(event("bar", "bars:AAPL:1", 8));
  w.heard.length = 0;
  await reconnect(w);
  assert.equal(w.socket.texts.length, 1);
  assert.deepEqual(w.socket.said.map(({ stream, since }) => [stream, since]), [
    ["bars", { epoch: "e", seq: 8 }],
    ["alerts", { epoch: "e", seq: 3 }],
  ]);
  w.socket.subscribed(w.socket.said[0], "bars:AAPL:1", 9);
  w.socket.say(event("bar", "bars:AAPL:1", 9), event("bar", "bars:AAPL:1", 10));
  assert.deepEqual(w.heard, ["bar 9 {}", "bar 10 {}"], "exactly what was missed, and no snapshot");
  assert.equal(alerts.state, "asked");
});

test("a late listener after a break is shown one unbroken story", async () => {
  const w = await listening();
  await reconnect(w);
  w.socket.subscribed(w.socket.last("subscribe"), "bars:AAPL:1", 6);
  w.socket.say(event("bar", "bars:AAPL:1", 6));
  const heard = diary(w.client.subscribe("bars", APPLE));
  await turn();
  assert.deepEqual(heard, ['full_update 5 {"bars":[1]}', "bar 6 {}"]);
});

test("what cannot be recovered is a gap and a fresh snapshot", async () => {
  const w = await listening();
  await reconnect(w);
  w.socket.subscribed(w.socket.last("subscribe"), "bars:AAPL:1", 2, { bars: [7] }, { epoch: "f" });
  assert.deepEqual(w.heard, ['gap {"reason":"resume","from":{"epoch":"e","seq":5}}', 'full_update 2 {"bars":[7]}']);
  w.socket.say(event("bar", "bars:AAPL:1", 3));
  await reconnect(w);
  assert.deepEqual(w.socket.last("subscribe").since, { epoch: "f", seq: 3 });
});

test("who waits for its own answer lets pass what others are told of its topics", async () => {
  const w = await listening();
  const all = diary(w.client.subscribe("bars"));
  await turn();
  w.socket.say(event("bar", "bars:AAPL:1", 6));
  assert.deepEqual(all, []);
  w.socket.subscribed(w.socket.last("subscribe"), "bars", 6, { bars: [3] });
  await reconnect(w);
  const [first, second] = w.socket.said;
  w.socket.subscribed(first, "bars:AAPL:1", 8);
  w.socket.say(event("bar", "bars:AAPL:1", 8));
  w.socket.subscribed(second, "bars", 8);
  w.socket.say(event("bar", "bars:MSFT:1", 7), event("bar", "bars:AAPL:1", 8), event("bar", "bars:AAPL:1", 9));
  assert.deepEqual(all, ['full_update 6 {"bars":[3]}', "bar 7 {}", "bar 8 {}", "bar 9 {}"]);
  assert.deepEqual(w.heard, ["bar 6 {}", "bar 8 {}", "bar 9 {}"], "nothing twice");
});

test("who was too slow is told of the gap, and shown the state anew", async () => {
  const w = await listening();
  w.socket.say({ ...system("status", { status: "lagged", dropped: 3, from: 6, to: 8, policy: "resync" }), stream: "bars" });
  w.socket.say(snapshot("bars:AAPL:1", 8, { bars: [8] }, { resync: true }), event("bar", "bars:AAPL:1", 9));
  assert.deepEqual(w.heard, ['gap {"reason":"lagged","from":{"epoch":"e","seq":5},"dropped":3}', 'full_update 8 {"bars":[8]}', "bar 9 {}"]);
});

test("a new snapshot of all that is subscribed to is not taken for that of a part", async () => {
  const w = await listening();
  const microsoft = diary(w.client.subscribe("bars", { symbol: "MSFT" }));
  await turn();
  w.socket.subscribed(w.socket.last("subscribe"), "bars:MSFT:1", 5, { bars: [] });
  w.socket.say(snapshot("bars", 9, { bars: ["both"] }, { resync: true, topic: undefined, topics: ["bars:AAPL:1", "bars:MSFT:1"] }));
  await turn();
  const asked = w.socket.said.filter(({ type }) => type === "snapshot");
  assert.deepEqual(asked.map(({ params }) => params.symbol), ["AAPL", "MSFT"]);
  w.socket.say(event("bar", "bars:AAPL:1", 10));
  for (const { id } of asked) {
    w.socket.say({ ...system("response", { status: "snapshot", epoch: "e" }), stream: "bars", seq: 10, id });
    w.socket.say(snapshot("bars:x", 10, { bars: [id] }));
  }
  w.socket.say(event("bar", "bars:AAPL:1", 11));
  assert.deepEqual(w.heard, [`full_update 10 {"bars":["${asked[0].id}"]}`, "bar 11 {}"]);
  assert.deepEqual(microsoft.slice(1), [`full_update 10 {"bars":["${asked[1].id}"]}`]);
});

test("events that were replaced by newer ones are no gap", async () => {
  const w = await listening();
  w.socket.say({ ...system("status", { status: "lagged", replaced: 3, from: 6, to: 8, policy: "latest" }), stream: "bars" });
  assert.deepEqual(w.heard.map((line) => line.split(" ")[0]), ["status"]);
});

test("an endpoint without snapshots brings events all the same", async () => {
  const w = world();
  const heard = diary(w.client.subscribe("bars"));
  await turn();
  await w.socket.welcome();
  w.socket.subscribed(w.socket.last("subscribe"), "bars", 5, undefined, { recovered: false });
  w.socket.say(event("bar", "bars:A:1", 6));
  assert.deepEqual(heard, ["bar 6 {}"]);
});

test("a page may go on from where an earlier one was", async () => {
  const w = world();
  w.client.subscribe("bars", APPLE, { since: { epoch: "e", seq: 4 } });
  await turn();
  await w.socket.welcome();
  assert.deepEqual(w.socket.last("subscribe").since, { epoch: "e", seq: 4 });
});

test("a page that goes on from a place that is gone is told so", async () => {
  const w = world();
  const heard = diary(w.client.subscribe("bars", APPLE, { since: { epoch: "d", seq: 4 } }));
  await turn();
  await w.socket.welcome();
  w.socket.subscribed(w.socket.last("subscribe"), "bars:AAPL:1", 2, { bars: [7] });
  assert.deepEqual(heard, ['gap {"reason":"resume","from":{"epoch":"d","seq":4}}', 'full_update 2 {"bars":[7]}']);
});

test("who comes while the connection is broken is shown what was known, and goes on with the others", async () => {
  const w = await listening();
  w.socket.break();
  const heard = diary(w.client.subscribe("bars", APPLE));
  await turn();
  assert.deepEqual(heard, ['full_update 5 {"bars":[1]}']);
  await w.clock.pass(20_000);
  await w.socket.welcome();
  w.socket.subscribed(w.socket.last("subscribe"), "bars:AAPL:1", 6);
  w.socket.say(event("bar", "bars:AAPL:1", 6));
  assert.deepEqual(heard.slice(1), ["bar 6 {}"]);
});
