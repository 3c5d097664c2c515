// A world for tests: time that passes when told, chance that is known, and sockets whose other end the test holds.

import { Client } from "../src/index.js";
import type { Clock, Logger, Options, Socket } from "../src/index.js";

export class VirtualClock implements Clock {
  now = 0;
  chance = 0.5;
  #timers: { at: number; run: () => void }[] = [];

  random = (): number => this.chance;

  setTimeout(run: () => void, ms: number): unknown {
    if (ms > 2 ** 31 - 1) throw new Error(`a timer of ${ms} ms fires at once`);
    const timer = { at: this.now + ms, run };
    this.#timers.push(timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    this.#timers = this.#timers.filter((known) => known !== timer);
  }

  get waiting(): number {
    return this.#timers.length;
  }

  /** Lets time pass, timer by timer, with all that follows from each. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    await turn();
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.clearTimeout(next);
      this.now = Math.max(this.now, next.at);
      next.run();
      await turn();
    }
    this.now = end;
  }
}

/** Everything that was promised for this turn has happened. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class VirtualSocket implements Socket {
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  onerror: Socket["onerror"] = null;
  /** The texts that the client sent. */
  texts: string[] = [];
  isClosed = false;

  constructor(
    readonly url: string,
    readonly protocol: string,
  ) {}

  send(text: string): void {
    this.texts.push(text);
  }

  close(): void {
    this.isClosed = true;
  }

  /** What the client said, object by object. */
  get said(): any[] {
    return this.texts.flatMap((text) => text.split("\n")).map((text) => JSON.parse(text));
  }

  /** The newest thing of this type that the client said. */
  last(type: string): any {
    return this.said.filter((message) => message.type === type).at(-1);
  }

  say(...messages: object[]): void {
    for (const message of messages) this.onmessage?.({ data: JSON.stringify(message) });
  }

  break(code = 1006, reason = ""): void {
    this.onclose?.({ code, reason });
  }

  async welcome(more: object = {}): Promise<void> {
    this.onopen?.({});
    this.say(system("status", { status: "connected", client_id: "c", protocol: this.protocol, heartbeat_s: 30, streams: [], ...more }));
    await turn();
  }

  /** Answers a subscription as the daemon does: with a snapshot, or with what was missed. */
  subscribed(asked: any, topic: string, seq: number, records?: object, more: object = {}): void {
    const stream = topic.split(":")[0]!;
    const data = { status: "subscribed", topic, epoch: "e", recovered: !records, ...more };
    this.say({ ...system("response", data), stream, seq, id: asked.id });
    if (records) this.say(snapshot(topic, seq, records, more));
  }
}

export function snapshot(topic: string, seq: number, records: object, more: object = {}): any {
  return { ...system("full_update", records), stream: topic.split(":")[0], seq, epoch: "e", topic, ...more };
}

export function event(kind: string, topic: string, seq: number, data: object = {}): any {
  return { ...system(kind, data), stream: topic.split(":")[0], seq, topic };
}

export function system(type: string, data: object): any {
  return { type, stream: "system", session_id: null, data, timestamp: "2026-01-17T10:00:00.000Z" };
}

export interface World {
  clock: VirtualClock;
  sockets: VirtualSocket[];
  /** The newest socket. */
  socket: VirtualSocket;
  client: Client;
  logged: string[];
}

export function world(options: Options = {}): World {
  const clock = new VirtualClock();
  const sockets: VirtualSocket[] = [];
  const logged: string[] = [];
  const say = (level: string) => (message: string, ...details: unknown[]) => void logged.push([level, message, ...details].join(" "));
  const logger = { debug: say("debug"), info: say("info"), warn: say("warn"), error: say("error") } satisfies Logger;
  class Made extends VirtualSocket {
    constructor(url: string, protocol: string) {
      super(url, protocol);
      sockets.push(this);
    }
  }
  const client = new Client({ url: "ws://daemon.test/v1/ws", socket: Made, clock, logger, ...options });
  return {
    clock,
    sockets,
    client,
    logged,
    get socket() {
      return sockets.at(-1)!;
    },
  };
}

/** Writes down what a subscription hears, in short. */
export function diary(subscription: { on(kind: "*", listener: (data: any, message: any) => void): unknown }): string[] {
  const lines: string[] = [];
  subscription.on("*", (data, { type, seq }) => lines.push(`${type}${seq === undefined ? "" : ` ${seq}`} ${JSON.stringify(data)}`));
  return lines;
}

export const APPLE = { symbol: "AAPL" };

/** A world with one subscription to the bars of one symbol, which has been shown number 5. */
export async function listening(): Promise<World & { heard: string[]; first: any }> {
  const w = world();
  const first = w.client.subscribe("bars", APPLE);
  const heard = diary(first);
  await turn();
  await w.socket.welcome();
  w.socket.subscribed(w.socket.last("subscribe"), "bars:AAPL:1", 5, { bars: [1] });
  heard.length = 0;
  return Object.assign(w, { heard, first });
}

export async function reconnect(w: World): Promise<void> {
  w.socket.break();
  await w.clock.pass(20_000);
  await w.socket.welcome();
}
