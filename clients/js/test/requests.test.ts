// What is asked of the daemon: answers, refusals, and what becomes of a question when the connection breaks.

import assert from "node:assert/strict";
import { test } from "node:test";
import { system, turn, world } from "./virtual.js";

test("a command waits for the connection, and its result comes back", async () => {
  const w = world();
  const result = w.client.command("alerts", "acknowledge", { violation_id: 10 });
  await turn();
  await w.socket.welcome();
  const { id, ...said } = w.socket.last("command");
  assert.deepEqual(said, { type: "command", stream: "alerts", command: "acknowledge", data: { violation_id: 10 } });
  w.socket.say({ ...system("response", { status: "ok", result: { acknowledged: true } }), stream: "alerts", id });
  assert.deepEqual(await result, { acknowledged: true });
  assert.equal(w.sockets.length, 1);
});

test("a published event has its position, where there is one", async () => {
  const w = world();
  const published = w.client.publish("ticks:AAPL", "tick", { price: 1 }, { key: "AAPL" });
  await turn();
  await w.socket.welcome();
  const { id, ...said } = w.socket.last("publish");
  assert.deepEqual(said, { type: "publish", topic: "ticks:AAPL", kind: "tick", data: { price: 1 }, key: "AAPL" });
  w.socket.say({ ...system("response", { status: "accepted", epoch: "e" }), stream: "ticks", seq: 7, id });
  assert.deepEqual(await published, { epoch: "e", seq: 7 });
});

test("a refusal has the daemon's code", async () => {
  const w = world();
  const refused = w.client.command("alerts", "acknowledge");
  await turn();
  await w.socket.welcome();
  w.socket.say({ ...system("error", { code: "forbidden", message: "not you" }), stream: "alerts", id: w.socket.last("command").id });
  await assert.rejects(refused, { name: "RequestError", code: "forbidden", message: "not you" });
  assert.deepEqual(w.logged, [], "who asked is told, and nobody else");
});

test("who asked on a connection that broke is told, and is not asked for twice", async () => {
  const w = world();
  const asked = w.client.command("alerts", "acknowledge");
  await turn();
  await w.socket.welcome();
  w.socket.break();
  await assert.rejects(asked, { code: "connection_lost" });
  const later = w.client.command("alerts", "acknowledge");
  await w.clock.pass(250);
  await w.socket.welcome();
  assert.equal(w.socket.said.length, 1);
  w.client.close();
  await assert.rejects(later, { code: "connection_lost" });
});

test("a question without an answer ends in time, and what waits ends with the client", async () => {
  const w = world();
  const asked = w.client.command("alerts", "acknowledge");
  const ended = assert.rejects(asked, { code: "timeout" });
  await w.clock.pass(15_000);
  await ended;
  const waiting = w.client.command("alerts", "acknowledge");
  w.client.close();
  await assert.rejects(waiting, { code: "closed" });
});

test("a new token may be shown at any time", async () => {
  const w = world();
  const answer = w.client.authenticate("t");
  await turn();
  await w.socket.welcome();
  w.socket.say({ ...system("response", { status: "authenticated", user: "u" }), id: w.socket.last("auth").id });
  assert.deepEqual(await answer, { status: "authenticated", user: "u" });
});
