// The life of the connection in virtual time: when it opens, what ends it, and when it comes back.

import assert from "node:assert/strict";
import { test } from "node:test";
import { delay } from "../src/backoff.js";
import { judge } from "../src/closing.js";
import { connect } from "../src/index.js";
import { system, turn, VirtualClock, world } from "./virtual.js";

test("nothing connects before somebody wants something", async () => {
  const w = world();
  await w.clock.pass(60_000);
  assert.equal(w.sockets.length, 0);
  assert.equal(w.client.state, "idle");
  w.client.subscribe("bars");
  w.client.subscribe("alerts");
  await turn();
  await w.socket.welcome();
  w.client.open();
  await turn();
  assert.equal(w.sockets.length, 1);
  assert.deepEqual([w.socket.url, w.socket.protocol], ["ws://daemon.test/v1/ws", "broadcastd.v1"]);
});

test("whoever connects to one daemon with one token has one client", () => {
  const [url, token] = ["http://daemon.test/v1/ws", () => "t"];
  assert.equal(connect({ url, token }), connect({ url: "ws://daemon.test/v1/ws", token }));
  assert.notEqual(connect({ url, token }), connect({ url, token: () => "t" }));
  assert.notEqual(connect({ url, token }), connect({ url: "ws://other.test/v1/ws", token }));
});

test("who watches sees it connect, wait and close", async () => {
  const w = world();
  const seen: unknown[] = [];
  const end = w.client.watch(() => seen.push([w.client.state, w.client.isConnected]));
  w.client.watch(() => {
    throw new Error("a watcher of the page fails");
  });
  w.client.open();
  await turn();
  await w.socket.welcome();
  w.socket.break();
  await w.clock.pass(250);
  await w.socket.welcome();
  w.client.close();
  end();
  w.client.open();
  await turn();
  assert.deepEqual(seen, [
    ["connecting", false],
    ["connected", true],
    ["waiting", false],
    ["connecting", false],
    ["connected", true],
    ["closed", false],
  ]);
  assert.match(w.logged.filter((line) => line.startsWith("error"))[0]!, /a watcher failed/);
  assert.equal(w.sockets.length, 3, "it opens again when it is asked to");
});

test("the wait doubles up to a bound, and is anything below it", () => {
  const bounds = [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000];
  for (const chance of [0, 0.5, 0.999]) {
    assert.deepEqual(bounds.map((_, failures) => delay(failures, () => chance)), bounds.map((bound) => chance * bound));
  }
});

test("only a connection that held makes the next wait short again", async () => {
  const w = world();
  w.client.open();
  const waits: number[] = [];
  for (const held of [0, 0, 9_999, 10_000, 0]) {
    await turn();
    await w.socket.welcome();
    await w.clock.pass(held);
    w.socket.break();
    const [began, known] = [w.clock.now, w.sockets.length];
    while (w.sockets.length === known) await w.clock.pass(1);
    waits.push(w.clock.now - began);
  }
  assert.deepEqual(waits, [250, 500, 1000, 250, 500]);
});

test("close codes say whether to come back, and when", () => {
  const [fetched, fixed] = [() => "t", "t"];
  const cases: [number, string, (() => string) | string, object][] = [
    [1001, "shutting down; retry in 2310 ms", fixed, { retry: true, after: 2310 }],
    [1001, "silent for too long", fixed, { retry: true }],
    [1013, "too far behind; resume by position", fixed, { retry: true }],
    [1013, "too many tokens from your address prove nothing; try again in a second", fetched, { retry: true }],
    [1006, "", fixed, { retry: true }],
    [1000, "", fixed, { retry: true }],
    [1012, "", fixed, { retry: true }],
    [1002, "a frame was masked", fetched, { retry: false }],
    [1007, "the text was not UTF-8", fetched, { retry: false }],
    [1008, "closed by the operator", fetched, { retry: false }],
    [1009, "the message was longer than hub.max_message", fetched, { retry: false }],
    [4001, "the token has expired", fetched, { retry: true }],
    [4001, "the token has expired", fixed, { retry: false }],
    [4001, "logged out", fetched, { retry: false }],
  ];
  for (const [code, reason, token, verdict] of cases) assert.deepEqual(judge(code, reason, token), verdict, `${code} ${reason} ${typeof token}`);
});

test("a daemon that stops says when to come back, and is believed", async () => {
  const w = world();
  w.client.open();
  await turn();
  await w.socket.welcome();
  w.socket.break(1001, "shutting down; retry in 2310 ms");
  await w.clock.pass(2309);
  assert.equal(w.sockets.length, 1);
  await w.clock.pass(1);
  assert.equal(w.sockets.length, 2);
});

test("who is closed for good stays away, and says why", async () => {
  const w = world();
  w.client.open();
  await turn();
  await w.socket.welcome();
  w.socket.break(1008, "closed by the operator");
  await w.clock.pass(3_600_000);
  assert.deepEqual([w.sockets.length, w.client.state, w.clock.waiting], [1, "closed", 0]);
  assert.match(w.client.reason, /closed by the operator \(1008\)/);
  w.client.subscribe("bars");
  await assert.rejects(w.client.command("alerts", "acknowledge"), { code: "closed" });
  assert.equal(w.sockets.length, 1, "whoever comes later does not bring it back");
  w.client.open();
  await turn();
  await w.socket.welcome();
  assert.equal(w.socket.last("subscribe").stream, "bars");
});

test("a handshake without an end is given up", async () => {
  const w = world();
  w.client.open();
  await w.clock.pass(9_999);
  assert.equal(w.socket.isClosed, false);
  await w.clock.pass(1);
  assert.deepEqual([w.socket.isClosed, w.client.state], [true, "waiting"]);
});

test("silence is asked about, and silence after that ends the connection", async () => {
  const w = world();
  w.client.open();
  await turn();
  await w.socket.welcome({ heartbeat_s: 5 });
  await w.clock.pass(4_999);
  assert.equal(w.socket.last("ping"), undefined);
  await w.clock.pass(1);
  assert.deepEqual(w.socket.last("ping"), { type: "ping" });
  w.socket.say(system("status", { status: "pong" }));
  await w.clock.pass(10_000 + 5_000);
  assert.equal(w.socket.said.length, 2, "it asks again after the next silence");
  await w.clock.pass(9_999);
  assert.equal(w.client.state, "connected");
  await w.clock.pass(1);
  assert.deepEqual([w.client.state, w.socket.isClosed], ["waiting", true]);
});

test("who hears something asks nothing", async () => {
  const w = world();
  w.client.open();
  await turn();
  await w.socket.welcome({ heartbeat_s: 5 });
  for (let second = 0; second < 60; second++) {
    w.socket.say(system("status", { status: "source" }));
    await w.clock.pass(1_000);
  }
  assert.equal(w.socket.said.length, 0);
});

test("when the network or the reader is back it tries at once, or proves the line", async () => {
  const page = new EventTarget();
  const globals = globalThis as any;
  const before = [globals.addEventListener, globals.removeEventListener, globals.document];
  globals.addEventListener = page.addEventListener.bind(page);
  globals.removeEventListener = page.removeEventListener.bind(page);
  globals.document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  try {
    const w = world();
    w.client.open();
    await turn();
    await w.socket.welcome();
    w.socket.break(1001, "shutting down; retry in 60000 ms");
    globals.document.visibilityState = "hidden";
    globals.document.dispatchEvent(new Event("visibilitychange"));
    await turn();
    assert.equal(w.sockets.length, 1, "nobody looks");
    globals.document.visibilityState = "visible";
    globals.document.dispatchEvent(new Event("visibilitychange"));
    await turn();
    assert.equal(w.sockets.length, 2);
    await w.socket.welcome();
    page.dispatchEvent(new Event("online"));
    await turn();
    assert.deepEqual(w.socket.said, [{ type: "ping" }]);
    await w.clock.pass(10_000);
    assert.equal(w.client.state, "waiting", "the line was dead");
    w.client.close();
    page.dispatchEvent(new Event("online"));
    await turn();
    assert.equal(w.client.state, "closed");
  } finally {
    [globals.addEventListener, globals.removeEventListener, globals.document] = before;
  }
});

test("the token goes first, and is fetched for every connection", async () => {
  let count = 0;
  const w = world({ token: async () => `t${++count}` });
  w.client.subscribe("bars");
  await turn();
  await w.socket.welcome();
  assert.deepEqual(w.socket.said.map(({ type, token }) => [type, token]), [["auth", "t1"], ["subscribe", undefined]]);
  w.socket.break(4001, "the token has expired");
  await w.clock.pass(250);
  await w.socket.welcome();
  assert.equal(w.socket.said[0].token, "t2");
});

test("a token that cannot be fetched is waited for", async () => {
  let isUp = false;
  const w = world({ token: () => (isUp ? "t" : Promise.reject(new Error("no sign-in service"))) });
  w.client.open();
  await turn();
  assert.deepEqual([w.sockets.length, w.client.state], [0, "waiting"]);
  isUp = true;
  await w.clock.pass(250);
  assert.equal(w.sockets.length, 1);
});

test("a token is replaced before it ends, in place, by the daemon's clock", async () => {
  let count = 0;
  const w = world({
    token: () => {
      count++;
      if (count === 2) throw new Error("no sign-in service");
      return `t${count}`;
    },
  });
  w.client.open();
  await turn();
  await w.socket.welcome();
  const authenticated = (expires: string) => w.socket.say(system("response", { status: "authenticated", user: "u", expires }));
  authenticated("2026-01-17T10:01:00.000Z");
  await w.clock.pass(29_999);
  assert.equal(count, 1);
  await w.clock.pass(1);
  assert.equal(count, 2);
  await w.clock.pass(5_000);
  assert.deepEqual(w.socket.last("auth"), { type: "auth", token: "t3" });
  assert.equal(w.sockets.length, 1, "the connection stays");
  authenticated("2026-01-17T10:00:10.000Z");
  await w.clock.pass(5_000);
  assert.equal(w.socket.last("auth").token, "t4", "half the life of a short one");
});

test("a token that lasts for months is replaced when the longest timer ends", async () => {
  let count = 0;
  const w = world({ token: () => `t${++count}` });
  w.client.open();
  await turn();
  await w.socket.welcome();
  w.socket.say(system("response", { status: "authenticated", user: "u", expires: "2026-12-31T00:00:00.000Z" }));
  assert.deepEqual([w.client.state, count], ["connected", 1]);
});

test("where one transport never connects the next one is tried", async () => {
  const made: string[] = [];
  const transport = (name: string) =>
    class {
      onopen = null;
      onmessage: any = null;
      onclose: any = null;
      onerror = null;
      constructor() {
        made.push(name);
        setImmediate(() => {
          if (name === "sse") this.onmessage?.({ data: JSON.stringify(system("status", { status: "connected" })) });
          else this.onclose?.({ code: 1006, reason: "" });
        });
      }
      send() {}
      close() {}
    };
  const clock = new VirtualClock();
  clock.chance = 0;
  const w = world({ clock, socket: [transport("websocket"), transport("sse")] });
  w.client.open();
  for (let turns = 0; turns < 10; turns++) await clock.pass(1);
  assert.deepEqual(made, ["websocket", "websocket", "sse"]);
  assert.equal(w.client.isConnected, true);
});
