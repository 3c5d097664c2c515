// Server-sent events in the place of a WebSocket: the same client, the same story.

import assert from "node:assert/strict";
import { test } from "node:test";
import { blocks } from "../src/blocks.js";
import { sse } from "../src/sse.js";
import { topicsOf } from "../src/templates.js";
import { jwt, SERVICE_TOKEN, until } from "./daemon.js";
import { broken, open, real, short, shown, stage, tick } from "./stage.js";
import { diary } from "./virtual.js";

test("blocks are read however the network cuts them", async () => {
  const text = ': hello\n\nevent: bar\ndata: {"a":\ndata: "é"}\nid: 1\n\ndata: 2\r\n\r\n:\n\ndata:3\n\ndata: cut';
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 2, 3, 7, bytes.length]) {
    const told: string[] = [];
    let signs = 0;
    const body = new ReadableStream({
      start(stream) {
        for (let at = 0; at < bytes.length; at += size) stream.enqueue(bytes.slice(at, at + size));
        stream.close();
      },
    });
    await blocks(body, () => signs++, (data) => told.push(data));
    assert.deepEqual(told, ['{"a":\n"é"}', "2", "3"], `cut at ${size}`);
    assert.equal(signs, Math.ceil(bytes.length / size));
  }
});

test("parameters become the topics that the daemon makes of them", () => {
  const template = { address: "bars:{symbol}:{resolution}", parameters: { symbol: {}, resolution: { default: "1" } } };
  const cases: [object | undefined, string[]][] = [
    [{ symbol: "AAPL", resolution: "5" }, ["bars:AAPL:5"]],
    [{ symbol: "AAPL" }, ["bars:AAPL:1"]],
    [{ resolution: 5 }, ["bars:*:5"]],
    [{ symbol: ["AAPL", "MSFT"], resolution: null }, ["bars:AAPL:1", "bars:MSFT:1"]],
    [undefined, ["bars:*:1"]],
    [{ symbol: "BINANCE:BTC*%" }, ["bars:BINANCE%3ABTC%2A%25:1"]],
  ];
  for (const [params, topics] of cases) assert.deepEqual(topicsOf({ stream: "bars", params: params as any }, template), topics);
  assert.deepEqual(topicsOf({ stream: "alerts" }, { address: "alerts:{id}" }), ["alerts"]);
  assert.deepEqual(topicsOf({ stream: "plain" }, undefined), ["plain"]);
  assert.deepEqual(topicsOf({ topic: "bars:A%3AB:1" }, template), ["bars:A%3AB:1"]);
  assert.throws(() => topicsOf({ stream: "bars", params: { sybmol: 1 } }, template), /bars has no parameter "sybmol"; it has: symbol, resolution/);
});

real("everybody hears all of their own once, also without a WebSocket", async () => {
  const client = open({ socket: sse() });
  await stage.daemon.tick("A", 1);
  const heard = [client.subscribe("ticks", { symbol: "A" }), client.subscribe("ticks:A:X"), client.subscribe("ticks")].map(diary);
  await until(() => heard.every(({ length }) => length));
  await stage.daemon.tick("A", 2);
  await stage.daemon.tick("B", 3);
  await stage.daemon.publish("ticks", { type: "note", data: {} });
  await until(() => heard.every((lines) => lines.at(-1)!.startsWith("note")));
  for (const lines of [heard[0]!, heard[1]!]) assert.deepEqual(short(lines), [shown({ symbol: "A", price: 1 }), tick("A", 2), "note {}"]);
  assert.deepEqual(short(heard[2]!).slice(1), [tick("A", 2), tick("B", 3), "note {}"]);
  assert.equal(client.isConnected, true);
  assert.equal((await stage.daemon.connections()).length, 1);
});

real("subscriptions come and go while events happen, and nothing is lost", async () => {
  const client = open({ socket: sse() });
  const heard = diary(client.subscribe("ticks", { symbol: "C" }));
  await until(() => heard.length);
  const others: { close(): void }[] = [];
  for (let price = 0; price < 40; price++) {
    await stage.daemon.tick("C", price);
    if (price % 4 === 0) others.push(client.subscribe("ticks", { symbol: `O${price}` }));
    if (price % 8 === 7) others.shift()!.close();
  }
  await until(() => heard.at(-1)!.endsWith('"price":39}'));
  assert.deepEqual(short(heard.slice(1)), Array.from({ length: 40 }, (_, price) => tick("C", price)));
});

real("a line that was closed goes on where it was", async () => {
  const client = open({ socket: sse() });
  const heard = diary(client.subscribe("ticks", { symbol: "D" }));
  await until(async () => heard.length && (await stage.daemon.connections()).length);
  heard.length = 0;
  const lost = broken(client);
  await stage.daemon.closeConnections();
  await lost;
  for (let price = 0; price < 5; price++) await stage.daemon.tick("D", price);
  await until(() => client.isConnected);
  await stage.daemon.tick("D", 5);
  await until(() => heard.length === 6);
  assert.deepEqual(short(heard), [0, 1, 2, 3, 4, 5].map((price) => tick("D", price)));
});

real("a daemon that was killed is a gap and a snapshot, also without a WebSocket", async () => {
  const client = open({ socket: sse() });
  const heard = diary(client.subscribe("ticks", { symbol: "K" }));
  await until(async () => heard.length && (await stage.daemon.connections()).length);
  const lost = broken(client);
  await stage.daemon.kill();
  await lost;
  await stage.daemon.start();
  await until(() => heard.length === 3);
  await stage.daemon.tick("K", 2);
  await until(() => heard.length === 4);
  assert.match(heard[1]!, /^gap \{"reason":"resume"/);
  assert.deepEqual(short(heard.slice(2)), ["full_update {}", tick("K", 2)]);
});

real("commands, events and mistakes are answered, also without a WebSocket", async () => {
  const client = open({ socket: sse(), token: SERVICE_TOKEN });
  assert.equal(typeof (await client.publish("ticks:P:X", "tick", { price: 1 }))!.seq, "number");
  await assert.rejects(client.command("alerts", "acknowledge", { violation_id: 999, reason: "Tool Change" }), { code: "not_found" });
  const heard = [client.subscribe("nope"), client.subscribe("ticks", { sybmol: 1 })].map(diary);
  await until(() => heard.every(({ length }) => length));
  assert.match(heard[0]![0]!, /"code":"unknown_stream"/);
  assert.match(heard[1]![0]!, /"code":"invalid_params"/);
  const stranger = open({ socket: sse(), token: "wrong" });
  stranger.subscribe("ticks");
  await until(() => stranger.state === "closed");
  assert.match(stranger.reason, /\(4001\)/);
});

real("a new line begins where the old one was, whatever others have been shown meanwhile", async () => {
  const places: string[] = [];
  const stuck = async (url: any, request: any = {}) => {
    if (!String(url).includes("/v1/sse?")) return fetch(url, request);
    places.push(request.headers["last-event-id"]);
    return places.length === 1 ? new Response(new ReadableStream()) : fetch(url, request);
  };
  const client = open({ socket: sse({ fetch: stuck as typeof fetch }) });
  const heard = diary(client.subscribe("ticks", { symbol: "F" }));
  await until(() => places.length === 1);
  await stage.daemon.tick("F", 1); // on a line that brings nothing
  client.subscribe("ticks", { symbol: "G" });
  await until(() => heard.length === 2);
  assert.deepEqual(short(heard).slice(1), [tick("F", 1)]);
  assert.equal(places[1], places[0]);
});

real("a token is shown with everything that is asked, from the first question on", async () => {
  const shown: [path: string, token: string | undefined][] = [];
  const noted = (url: any, request: any = {}) => {
    shown.push([new URL(url).pathname, request.headers["authorization"]]);
    return fetch(url, request);
  };
  const token = jwt("asker", 60);
  const heard = diary(open({ token, socket: sse({ fetch: noted as typeof fetch }) }).subscribe("ticks", { symbol: "T" }));
  await until(() => heard.length && shown.length === 3);
  const paths = ["/v1/asyncapi.json", "/v1/streams/ticks/snapshot", "/v1/sse"];
  assert.deepEqual(shown, paths.map((path) => [path, `Bearer ${token}`]));
});

for (const [name, more] of [["a WebSocket", {}], ["server-sent events", { socket: sse() }]] as const) {
  real(`a user hears their own, and nobody else's, over ${name}`, async () => {
    const user = name.replace(/\W/g, "");
    const [own, other] = [user, "somebody"].map((name) => open({ ...more, token: () => jwt(name, 60) }));
    const [heard, others] = [own!, other!].map((client) => diary(client.subscribe("user"))) as [string[], string[]];
    await until(() => heard.length && others.length);
    const pnl = { totalPnL: 1, dailyPnL: 2, positionPnL: null };
    await stage.daemon.publish("user_events", { type: "PNL_UPDATE", audience: user, data: pnl });
    await until(() => heard.length > 1);
    assert.deepEqual(short(heard).slice(1), [`PNL_UPDATE ${JSON.stringify(pnl)}`]);
    const later = diary(open({ ...more, token: jwt(user, 60) }).subscribe("user"));
    await until(() => later.length);
    assert.match(later[0]!, /"pnl":\[\{"totalPnL":1/);
    assert.equal(others.length, 1);
    const nobody = diary(open(more).subscribe("user"));
    await until(() => nobody.length);
    assert.match(nobody[0]!, /authentication_required/);
  });
}
