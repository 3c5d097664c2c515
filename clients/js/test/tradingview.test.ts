// Bars in the shapes of charts, and what TradingView's library is told.

import assert from "node:assert/strict";
import { test } from "node:test";
import { liveBars, toLightweight, toLightweightVolume } from "../src/tradingview.js";
import { event, snapshot, turn, world } from "./virtual.js";

const MINUTE = 60_000;
const bar = (minute: number, close = 1, more: object = {}) => ({ symbol: "AAPL", resolution: "1", time: minute * MINUTE, open: 1, high: 2, low: 0.5, close, volume: 10, final: false, revision: 0, ...more });

test("a bar of a chart has seconds, or a date from a day on", () => {
  assert.deepEqual(toLightweight(bar(2)), { time: 120, open: 1, high: 2, low: 0.5, close: 1 });
  assert.deepEqual(toLightweightVolume(bar(2)), { time: 120, value: 10 });
  const day = bar(0, 1, { time: Date.UTC(2026, 0, 17), resolution: "1D" });
  assert.equal(toLightweight(day).time, "2026-01-17");
  assert.equal(toLightweight({ ...day, resolution: "1M" }).time, "2026-01-17");
  assert.equal(toLightweight({ ...day, resolution: "30S" }).time, Date.UTC(2026, 0, 17) / 1000);
});

test("the library hears the newest bar and new ones, and is told when its history is old", async () => {
  const w = world();
  const feed = liveBars(w.client);
  const heard: unknown[] = [];
  let resets = 0;
  feed.subscribeBars({ name: "AAPL" }, "1", ({ time, close }) => heard.push([time / MINUTE, close]), "guid", () => resets++);
  await turn();
  await w.socket.welcome();
  const asked = w.socket.last("subscribe");
  assert.deepEqual([asked.stream, asked.params], ["bars", { symbol: "AAPL", resolution: "1" }]);
  w.socket.subscribed(asked, "bars:AAPL:1", 5, { bars: [bar(2), bar(1)] });
  const say = (seq: number, data: object) => w.socket.say(event("bar", "bars:AAPL:1", seq, data));
  say(6, bar(2, 1.5));
  say(7, bar(3));
  assert.equal(resets, 0);
  say(8, bar(2, 1.7, { final: true, revision: 1 }));
  assert.equal(resets, 1, "a closed bar changed");
  w.socket.break();
  await w.clock.pass(250);
  await w.socket.welcome();
  w.socket.subscribed(w.socket.last("subscribe"), "bars:AAPL:1", 20, { bars: [bar(7), bar(6)] }, { epoch: "f" });
  assert.equal(resets, 2, "bars are missing");
  assert.deepEqual(heard, [[1, 1], [2, 1], [2, 1.5], [3, 1], [6, 1], [7, 1]]);
});

test("each listener of the library ends for itself, and one that comes again is one", async () => {
  const w = world();
  const feed = liveBars(w.client);
  const heard: string[] = [];
  for (const guid of ["a", "b", "a"]) feed.subscribeBars({ name: "Apple", ticker: "AAPL" }, "1", () => heard.push(guid), guid, () => {});
  await turn();
  await w.socket.welcome();
  assert.equal(w.socket.said.length, 1);
  w.socket.subscribed(w.socket.last("subscribe"), "bars:AAPL:1", 5, { bars: [] });
  w.socket.say(event("bar", "bars:AAPL:1", 6, bar(1)));
  assert.deepEqual(heard.toSorted(), ["a", "b"]);
  feed.unsubscribeBars("a");
  feed.unsubscribeBars("unknown");
  w.socket.say(event("bar", "bars:AAPL:1", 7, bar(1)));
  assert.deepEqual(heard.toSorted(), ["a", "b", "b"]);
  feed.unsubscribeBars("b");
  await w.clock.pass(1_000);
  assert.ok(w.socket.last("unsubscribe"));
});

test("snapshots that come late bring no bar older than the newest", async () => {
  const w = world();
  const heard: number[] = [];
  liveBars(w.client, "candles").subscribeBars({ name: "A" }, "1", ({ time }) => heard.push(time / MINUTE), "a", () => {});
  await turn();
  await w.socket.welcome();
  w.socket.subscribed(w.socket.last("subscribe"), "candles:A:1", 5, { bars: [bar(3)] });
  w.socket.say(snapshot("candles:A:1", 8, { bars: [bar(2), bar(4)] }, { resync: true }));
  assert.deepEqual(heard, [3, 4]);
});
