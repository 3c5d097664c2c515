// What tests of the real daemon share: one daemon, clients that end with their test, and words for what was heard.

import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { Client } from "../src/index.js";
import type { Options } from "../src/index.js";
import { Daemon, missing } from "./daemon.js";

const LIMIT_MS = 20_000; // for a test that waits for what never comes

export const stage: { daemon: Daemon; sockets: WebSocket[] } = { daemon: undefined as never, sockets: [] };
const clients: Client[] = [];

before(async () => {
  if (!missing) stage.daemon = await Daemon.start();
});
after(() => stage.daemon?.end());

class Kept extends WebSocket {
  constructor(url: string, protocol: string) {
    super(url, protocol);
    stage.sockets.push(this);
  }
}

export function open(more: Options = {}, path = "/v1/ws"): Client {
  stage.sockets = [];
  const client = new Client({ url: `ws://${stage.daemon.clients}${path}`, logLevel: "silent", ...more, socket: more.socket ?? (Kept as any) });
  clients.push(client);
  return client;
}

export function real(name: string, run: () => Promise<void>): void {
  test(name, { skip: missing, timeout: LIMIT_MS }, async () => {
    try {
      await run();
    } finally {
      for (const client of clients.splice(0)) client.close();
    }
  });
}

/** When the client has noticed that its line is broken; asked for before it breaks, because it may be back at once. */
export function broken(client: Client): Promise<void> {
  return new Promise((done) => {
    const end = client.watch(() => {
      if (client.state !== "waiting") return;
      end();
      done();
    });
  });
}

/** What was heard, without the numbers. */
export const short = (lines: string[]): string[] => lines.map((line) => line.replace(/^(\S+) \d+/, "$1"));
export const tick = (symbol: string, price: number): string => `tick {"symbol":"${symbol}","price":${price}}`;
export const shown = (...records: object[]): string => `full_update ${JSON.stringify({ records })}`;
