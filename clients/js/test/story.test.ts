// Random listeners, breaks and events, over every transport: nobody misses anything, and nobody hears anything twice.

import assert from "node:assert/strict";
import type { Client, SocketClass, Subscription } from "../src/index.js";
import { sse } from "../src/sse.js";
import { Browser } from "./browser_of_tabs.js";
import { until } from "./daemon.js";
import { open, real, stage } from "./stage.js";

const SEED = Number(process.env["BROADCASTD_TEST_SEED"]) || Math.floor(Math.random() * 2 ** 31);
const STEPS = 150;
const SYMBOLS = ["U", "V", "W"];
const TARGETS: [string, object?][] = [
  ["ticks", { symbol: "U" }],
  ["ticks", { symbol: ["U", "V"] }],
  ["ticks:V:X"],
  ["ticks:*:X"],
  ["ticks", { symbol: "W", venue: "X" }],
  ["ticks:W:X"],
  ["ticks"],
];

/** The same numbers for the same seed. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** Knows the last price of each symbol, and holds every message against it: prices rise one by one. */
class Witness {
  readonly prices = new Map<string, number>();
  readonly symbols: string[];
  gaps = 0;
  wrong: string | undefined;
  #isShown = false;

  constructor(readonly subscription: Subscription<any>, [target, params]: [string, object?]) {
    const { symbol } = (params ?? {}) as any;
    const named = symbol ?? target.split(":")[1] ?? "*";
    this.symbols = named === "*" ? SYMBOLS : [named].flat();
    subscription.on("*", (data: any, { type }: any) => this.#hear(type, data));
  }

  #hear(type: string, data: any): void {
    if (type === "full_update") {
      this.#isShown = true;
      this.prices.clear();
      for (const { symbol, price } of data.records ?? []) this.prices.set(symbol, price);
    } else if (type === "tick") {
      const before = this.prices.get(data.symbol) ?? 0;
      if (!this.#isShown || data.price !== before + 1) this.wrong ??= `${data.symbol} ${data.price} came after ${before}`;
      if (!this.symbols.includes(data.symbol)) this.wrong ??= `${data.symbol} is none of ${this.symbols}`;
      this.prices.set(data.symbol, data.price);
    } else if (type === "gap") this.gaps++;
    else this.wrong ??= `${type} ${JSON.stringify(data)}`;
  }
}

async function story(sockets: () => SocketClass[], breakLines: () => Promise<void> | void): Promise<void> {
  const roll = random(SEED);
  const clients: Client[] = sockets().map((socket) => open({ socket, linger: 5 }));
  const told = new Map(SYMBOLS.map((symbol) => [symbol, 0]));
  const symbols = new Map(SYMBOLS.map((symbol) => [symbol, `${symbol}${Math.random().toString(36).slice(2, 8)}`])); // of this story alone
  const own = (text: string) => symbols.get(text) ?? text;
  const targets = TARGETS.slice(0, -1).map(([target, params]): [string, object?] => {
    const { symbol, ...more } = (params ?? {}) as any;
    return [target.split(":").map(own).join(":"), params && { ...more, symbol: [symbol].flat().map(own) }];
  });
  const everything = [...symbols.values()];
  const witnesses: Witness[] = [];
  const all: Witness[] = [];
  for (let step = 0; step < STEPS; step++) {
    const what = roll(20);
    if (what < 12) {
      const symbol = SYMBOLS[roll(SYMBOLS.length)]!;
      told.set(symbol, told.get(symbol)! + 1);
      await stage.daemon.tick(own(symbol), told.get(symbol)!);
    } else if (what < 16) {
      const target = targets[roll(targets.length)]!;
      if (target[0] === "ticks:*:X") continue;
      const witness = new Witness(clients[roll(clients.length)]!.subscribe(...(target as [string])), target);
      witnesses.push(witness);
      all.push(witness);
    } else if (what < 19) witnesses.splice(roll(witnesses.length + 1), 1)[0]?.subscription.close();
    else await breakLines();
  }
  for (const symbol of SYMBOLS) {
    told.set(symbol, told.get(symbol)! + 1);
    await stage.daemon.tick(own(symbol), told.get(symbol)!);
  }
  const expected = new Map([...told].map(([symbol, price]) => [own(symbol), price]));
  const isThere = (witness: Witness) => witness.wrong || witness.symbols.every((symbol) => !everything.includes(symbol) || witness.prices.get(symbol) === expected.get(symbol));
  try {
    await until(() => witnesses.every(isThere));
    for (const { wrong, gaps } of all) assert.deepEqual([wrong, gaps], [undefined, 0]);
  } catch (error) {
    throw new Error(`BROADCASTD_TEST_SEED=${SEED} tells this story again: ${error}`);
  }
  assert.ok(all.length > 10);
}

real("nothing is lost or doubled over WebSockets", () =>
  story(
    () => [undefined as any, undefined as any],
    () => stage.sockets.at(-1)?.terminate(),
  ));

real("nothing is lost or doubled over server-sent events", () =>
  story(
    () => [sse()],
    () => stage.daemon.closeConnections(),
  ));

real("nothing is lost or doubled between tabs", () => {
  const browser = new Browser();
  return story(
    () => [browser.tab().socket, browser.tab().socket, browser.tab().socket],
    () => browser.connections.at(-1)?.terminate(),
  );
});
