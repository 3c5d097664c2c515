// Who hears what: shared subscriptions, refusals, listeners and loops.

import assert from "node:assert/strict";
import { test } from "node:test";
import { matches } from "../src/wire.js";
import { APPLE, diary, event, listening, reconnect, system, turn, world } from "./virtual.js";

test("a subscription begins with a snapshot, and goes on with events", async () => {
  const w = world();
  const heard = diary(w.client.subscribe("bars", APPLE));
  await turn();
  await w.socket.welcome();
  const asked = w.socket.last("subscribe");
  assert.deepEqual(asked, { type: "subscribe", stream: "bars", params: APPLE, id: asked.id });
  w.socket.subscribed(asked, "bars:AAPL:1", 5, { bars: [1] });
  w.socket.say(event("bar", "bars:AAPL:1", 6, { close: 2 }), event("bar", "bars:MSFT:1", 7), event("bar", "bars", 8), event("x", "alerts", 9));
  assert.deepEqual(heard, ['full_update 5 {"bars":[1]}', 'bar 6 {"close":2}', "bar 8 {}"]);
});

test("a pattern matches whole parts, and what is said to the whole stream", () => {
  const cases: [string, string, boolean][] = [
    ["bars", "bars:A:1", true],
    ["bars:A:1", "bars:A:1", true],
    ["bars:A:1", "bars:A:5", false],
    ["bars:A:1", "bars", true],
    ["bars:*:1", "bars:A:1", true],
    ["bars:*:1", "bars:A:5", false],
    ["bars:*:1", "bars:A:1:x", false],
    ["bars:*", "bars:A:1", false],
    ["bars", "alerts:A", false],
    ["bars:A:1", "alerts:A:1", false],
    ["bars:A:1", "alerts", false],
  ];
  for (const [pattern, topic, expected] of cases) assert.equal(matches(pattern, topic), expected, `${pattern} ${topic}`);
});

test("two components share one subscription, and neither disturbs the other", async () => {
  const w = await listening();
  const second = w.client.subscribe("bars", APPLE);
  const other = w.client.subscribe("bars", { symbol: "MSFT" });
  await turn();
  assert.equal(w.socket.said.filter(({ type }) => type === "subscribe").length, 2, "one for each params");
  w.socket.subscribed(w.socket.last("subscribe"), "bars:MSFT:1", 5, { bars: [] });
  second.close();
  await w.clock.pass(1_000);
  assert.equal(w.socket.last("unsubscribe"), undefined, "the first still listens");
  w.socket.say(event("bar", "bars:AAPL:1", 6));
  assert.deepEqual(w.heard, ["bar 6 {}"]);
  w.first.close();
  await w.clock.pass(1_000);
  assert.deepEqual(w.socket.last("unsubscribe"), { type: "unsubscribe", stream: "bars", params: APPLE });
  assert.equal(other.state, "live");
});

test("topics without end are heard like few", async () => {
  const w = world();
  const heard: string[] = [];
  w.client.subscribe("bars:*:1").on("bar", (_, { topic }) => heard.push(topic!));
  await turn();
  await w.socket.welcome();
  w.socket.subscribed(w.socket.last("subscribe"), "bars:*:1", 0, {});
  for (let seq = 1; seq <= 2_500; seq++) w.socket.say(event("bar", `bars:S${seq % 1_250}:1`, seq), event("bar", `bars:S${seq % 1_250}:5`, seq));
  assert.equal(heard.length, 2_500);
});

test("the order of parameters makes no second subscription", async () => {
  const w = world();
  w.client.subscribe("bars", { symbol: "A", resolution: 1 });
  w.client.subscribe("bars", { resolution: 1, symbol: "A" });
  await turn();
  await w.socket.welcome();
  assert.equal(w.socket.said.length, 1);
});

test("a component that goes and comes at once says nothing", async () => {
  const w = await listening();
  w.first.close();
  await w.clock.pass(99);
  const heard = diary(w.client.subscribe("bars", APPLE));
  await w.clock.pass(1_000);
  assert.equal(w.socket.said.length, 1);
  assert.deepEqual(heard, ['full_update 5 {"bars":[1]}']);
});

test("whoever leaves takes no topic along that others have by another name", async () => {
  const w = await listening();
  const other = w.client.subscribe("bars:AAPL:1");
  const heard = diary(other);
  await turn();
  w.first.close();
  await w.clock.pass(1_000);
  assert.equal(w.socket.last("unsubscribe"), undefined, "not while an answer is on its way");
  w.socket.subscribed(w.socket.last("subscribe"), "bars:AAPL:1", 6, { bars: [2] });
  await turn();
  assert.equal(w.socket.last("unsubscribe"), undefined, "it would end the other");
  w.socket.say(event("bar", "bars:AAPL:1", 7));
  assert.deepEqual(heard, ['full_update 6 {"bars":[2]}', "bar 7 {}"]);
});

test("who leaves some topics to others ends only the rest", async () => {
  const w = await listening();
  const both = w.client.subscribe("bars", { symbol: ["AAPL", "MSFT"] });
  await turn();
  const topics = ["bars:AAPL:1", "bars:MSFT:1"];
  w.socket.subscribed(w.socket.last("subscribe"), "bars", 5, { bars: [] }, { topic: undefined, topics });
  both.close();
  await w.clock.pass(1_000);
  assert.deepEqual(w.socket.said.filter(({ type }) => type === "unsubscribe"), [{ type: "unsubscribe", topic: "bars:MSFT:1" }]);
});

test("a stream without a source says so, also to who comes later", async () => {
  const w = await listening();
  const none = { ...system("status", { status: "no_source", reason: "broadcaster stopped" }), stream: "bars" };
  w.socket.say(none);
  const late = diary(w.client.subscribe("bars", APPLE));
  await turn();
  assert.deepEqual(w.heard, ['status {"status":"no_source","reason":"broadcaster stopped"}']);
  assert.deepEqual(late, [...w.heard, 'full_update 5 {"bars":[1]}']);
  w.socket.say({ ...none, data: { status: "source" } });
  const latest = diary(w.client.subscribe("bars", APPLE));
  await turn();
  assert.deepEqual(latest, ['full_update 5 {"bars":[1]}']);
});

test("a refused subscription says why, and is tried again after the next connection", async () => {
  const w = world();
  const subscription = w.client.subscribe("nope");
  const heard = diary(subscription);
  await turn();
  await w.socket.welcome();
  const error = { ...system("error", { code: "unknown_stream", message: 'unknown stream "nope"' }), stream: "nope" };
  w.socket.say({ ...error, id: w.socket.last("subscribe").id });
  assert.deepEqual([subscription.state, heard.length], ["refused", 1]);
  assert.match(w.logged.filter((line) => line.startsWith("warn"))[0]!, /unknown stream/);
  await w.clock.pass(60_000);
  await reconnect(w);
  assert.ok(w.socket.last("subscribe"));
});

test("who is told to come back later does", async () => {
  const w = world();
  const subscription = w.client.subscribe("bars");
  await turn();
  await w.socket.welcome();
  const asked = w.socket.last("subscribe");
  w.socket.say({ ...system("error", { code: "rate_limited", message: "too many", retry_ms: 700 }), stream: "bars", id: asked.id });
  await w.clock.pass(699);
  assert.equal(w.socket.said.length, 1);
  await w.clock.pass(1);
  w.socket.subscribed(w.socket.last("subscribe"), "bars", 5, {});
  assert.equal(subscription.state, "live");
});

test("who is told to come back later and has left does not", async () => {
  const w = world();
  const subscription = w.client.subscribe("bars");
  await turn();
  await w.socket.welcome();
  const asked = w.socket.last("subscribe");
  w.socket.say({ ...system("error", { code: "rate_limited", message: "too many", retry_ms: 700 }), stream: "bars", id: asked.id });
  subscription.close();
  await w.clock.pass(1_000);
  assert.equal(w.socket.said.length, 1);
});

test("what a new token may not read is refused", async () => {
  const w = await listening();
  w.socket.say({ ...system("error", { code: "forbidden", message: "your token leaves it out" }), stream: "bars" });
  assert.equal(w.first.state, "refused");
  assert.deepEqual(w.heard.map((line) => line.split(" ")[0]), ["error"]);
});

test("messages that are none are counted, and nothing is thrown", async () => {
  const w = await listening();
  w.socket.onmessage!({ data: "{" });
  w.socket.onmessage!({ data: "null" });
  w.socket.onmessage!({ data: new ArrayBuffer(1) });
  w.socket.say({ type: "bar", data: {}, timestamp: "" }, { type: "status", stream: null, data: { status: "pong" } }, { type: "x", stream: "bars", data: {} });
  assert.deepEqual(w.client.ignored, { unreadable: 3, withoutStream: 2 });
  assert.deepEqual(w.heard, []);
  assert.deepEqual(w.logged, [], "that is worth no warning");
});

test("a listener that fails is logged, and the others hear all the same", async () => {
  const w = world();
  const subscription = w.client.subscribe("bars").on("*", () => {
    throw new Error("chart broke");
  });
  const heard = [diary(subscription), diary(w.client.subscribe("bars"))];
  await turn();
  await w.socket.welcome();
  w.socket.subscribed(w.socket.last("subscribe"), "bars", 5, {});
  assert.deepEqual(heard, [["full_update 5 {}"], ["full_update 5 {}"]]);
  assert.match(w.logged[0]!, /^error broadcastd: a listener of bars full_update failed Error: chart broke/);
});

test("listeners may be taken away, also by one another", async () => {
  const w = await listening();
  const heard: string[] = [];
  const second = () => heard.push("second");
  const first = () => {
    heard.push("first");
    subscription.off("bar", second);
  };
  const subscription = w.client.subscribe("bars", APPLE).on("bar", first).on("bar", second);
  await turn();
  w.socket.say(event("bar", "bars:AAPL:1", 6));
  assert.deepEqual(heard, ["first"]);
});

test("batches are events like others", async () => {
  const w = world();
  const heard = diary(w.client.subscribe("bars", undefined, { batchMs: 50 }));
  await turn();
  await w.socket.welcome();
  assert.equal(w.socket.last("subscribe").batch_ms, 50);
  w.socket.subscribed(w.socket.last("subscribe"), "bars", 5, {});
  w.socket.say({ ...system("batch", { messages: [event("bar", "bars:A:1", 6), event("bar", "bars:B:1", 7)] }), stream: "bars" });
  assert.deepEqual(heard.slice(1), ["bar 6 {}", "bar 7 {}"]);
});

test("many subscriptions are said in texts that the daemon takes", async () => {
  const w = world();
  for (let index = 0; index < 200; index++) w.client.subscribe("bars", { symbol: "€".repeat(300) + index });
  await turn();
  await w.socket.welcome();
  assert.equal(w.socket.said.length, 200);
  for (const text of w.socket.texts) assert.ok(Buffer.byteLength(text) <= 65_536, String(Buffer.byteLength(text)));
});

test("a loop gets everything in order, and ends with its subscription", async () => {
  const w = await listening();
  const heard: unknown[] = [];
  const subscription = w.client.subscribe("bars", APPLE);
  const loop = (async () => {
    for await (const message of subscription) heard.push(message.seq);
  })();
  await turn();
  for (const seq of [6, 7, 8]) w.socket.say(event("bar", "bars:AAPL:1", seq));
  await turn();
  w.socket.say(event("bar", "bars:AAPL:1", 9));
  subscription.close();
  await loop;
  assert.deepEqual(heard, [5, 6, 7, 8, 9]);
});

test("a loop that is left takes its listener along, and one that does not come back ends loudly", async () => {
  const w = await listening();
  const subscription = w.client.subscribe("bars", APPLE);
  for await (const message of subscription) {
    assert.equal(message.seq, 5);
    break;
  }
  const loop = subscription[Symbol.asyncIterator]();
  assert.equal((await loop.next()).value!.seq, 5);
  for (let seq = 6; seq <= 6 + 10_000; seq++) w.socket.say(event("bar", "bars:AAPL:1", seq));
  await assert.rejects(loop.next(), /more than 10000 messages wait/);
});

test("`using` ends a subscription with its block", async () => {
  const w = await listening();
  {
    using subscription = w.client.subscribe("alerts");
    assert.equal(subscription.state, "asked");
    await turn();
    w.socket.subscribed(w.socket.last("subscribe"), "alerts", 1, {});
  }
  await w.clock.pass(1_000);
  assert.equal(w.socket.last("unsubscribe").stream, "alerts");
});

test("nothing is heard after close, and closing twice is closing once", async () => {
  const w = await listening();
  const second = w.client.subscribe("bars", APPLE);
  w.first.close();
  w.first.close();
  w.socket.say(event("bar", "bars:AAPL:1", 6));
  assert.deepEqual(w.heard, []);
  await w.clock.pass(1_000);
  assert.equal(w.socket.last("unsubscribe"), undefined);
  assert.equal(second.state, "live");
});

test("the logger is warned at most, unless it is told otherwise", async () => {
  const quiet = world();
  quiet.client.open();
  await turn();
  assert.deepEqual(quiet.logged, []);
  const loud = world({ logLevel: "debug" });
  loud.client.open();
  await turn();
  assert.equal(loud.logged.length, 1);
  const silent = world({ logLevel: "silent" });
  silent.client.open();
  await turn();
  silent.socket.break(1002, "");
  assert.deepEqual(silent.logged, []);
});

test("what may no longer be read is not shown to who comes later", async () => {
  const w = await listening();
  w.socket.say({ ...system("error", { code: "forbidden", message: "your token leaves it out" }), stream: "bars" });
  const heard = diary(w.client.subscribe("bars", APPLE));
  await turn();
  assert.deepEqual(heard.map((line) => line.split(" ")[0]), ["error"]);
});
