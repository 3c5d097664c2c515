// In the tab that has the connection: serves every tab, its own among them, as the daemon would.

import { Client, type RequestError, type SocketClass } from "./index.js";
import { Relay } from "./relay.js";
import type { Message, Words } from "./wire.js";

/** How it reaches a tab. */
export interface Line {
  tell(tab: string, text: string): void;
  close(tab: string, code: number, reason: string): void;
}

export class Exchange {
  /** One for each life of the connection: the tabs know where they are, and who they are. */
  #client: Client | undefined;
  readonly #tabs = new Map<string, Map<string, Relay>>();
  readonly #welcomed = new Set<string>();

  constructor(
    private readonly url: string,
    private readonly socket: SocketClass | readonly SocketClass[] | undefined,
    private readonly line: Line,
  ) {}

  /** Whether the tab is a new one. */
  open(tab: string): boolean {
    if (this.#tabs.has(tab)) return false;
    this.#tabs.set(tab, new Map());
    return true;
  }

  close(tab: string): void {
    for (const relay of this.#tabs.get(tab)?.values() ?? []) relay.feed.leave(relay);
    this.#tabs.delete(tab);
    this.#welcomed.delete(tab);
    if (this.#tabs.size) return;
    const client = this.#client;
    this.#client = undefined;
    client?.close();
  }

  heard(tab: string, text: string): void {
    if (!this.#tabs.has(tab)) return this.line.close(tab, 1001, "another tab leads; retry in 0 ms");
    const client = this.#connected();
    for (const line of text.split("\n")) void this.#obey(client, tab, JSON.parse(line));
    this.#welcome(client);
  }

  #connected(): Client {
    if (this.#client) return this.#client;
    // What it would log every tab hears, and logs as it likes.
    const client = new Client({ url: this.url, logLevel: "silent", ...(this.socket && { socket: this.socket }) });
    this.#client = client;
    client.watch(() => this.#changed(client));
    client.open();
    return client;
  }

  #changed(client: Client): void {
    if (client !== this.#client) return;
    if (client.isConnected) return this.#welcome(client);
    if (client.state === "connecting") return;
    const [, reason = "", code] = /^(.*) \((\d+)\)$/.exec(client.reason) ?? [];
    this.#client = undefined;
    for (const tab of this.#tabs.keys()) this.line.close(tab, Number(code) || 1006, reason);
    this.#tabs.clear();
    this.#welcomed.clear();
    queueMicrotask(() => client.close());
  }

  #welcome(client: Client): void {
    if (!client.isConnected) return;
    for (const tab of this.#tabs.keys()) {
      if (this.#welcomed.has(tab)) continue;
      this.#welcomed.add(tab);
      this.#say(tab, "status", { status: "connected", client_id: tab, protocol: "broadcastd.v1", streams: [] });
    }
  }

  async #obey(client: Client, tab: string, message: any): Promise<void> {
    const { type, id, stream, topic } = message;
    if (type === "ping") return this.#pong(client, tab);
    if (type === "subscribe" || type === "snapshot") return this.#relay(client, tab, message);
    if (type === "unsubscribe") return this.#unsubscribe(tab, message);
    try {
      const { id: _, ...asked } = message;
      this.line.tell(tab, JSON.stringify({ ...(await client.request(asked)), id }));
    } catch (error) {
      const { code, message: why } = error as RequestError;
      const about = { id, stream: stream ?? topic?.split(":")[0] ?? "system" };
      if (code !== "connection_lost" && code !== "closed") this.#say(tab, "error", { code, message: why }, about);
    }
  }

  #pong(client: Client, tab: string): void {
    if (client.isConnected) this.#say(tab, "status", { status: "pong" });
  }

  #relay(client: Client, tab: string, message: any): void {
    const words = wordsOf(message);
    const feed = client.feed(words, { batchMs: message.batch_ms, since: message.since });
    const relay = new Relay(feed, message, (told) => this.line.tell(tab, JSON.stringify(told)));
    const relays = this.#tabs.get(tab)!;
    const key = JSON.stringify(words);
    if (message.type === "subscribe") {
      const before = relays.get(key);
      relays.set(key, relay);
      relay.join();
      before?.feed.leave(before);
    } else relay.join();
  }

  #unsubscribe(tab: string, message: any): void {
    const relays = this.#tabs.get(tab)!;
    const key = JSON.stringify(wordsOf(message));
    const named = relays.get(key);
    for (const [known, relay] of relays) {
      if (named ? known !== key : !relay.drop(message.topic)) continue;
      relays.delete(known);
      relay.feed.leave(relay);
    }
  }

  #say(tab: string, type: string, data: object, more: object = {}): void {
    const message: Message = { type, stream: "system", session_id: null, data, timestamp: new Date().toISOString(), ...more };
    this.line.tell(tab, JSON.stringify(message));
  }
}

const wordsOf = ({ topic, stream, params }: any): Words => (topic ? { topic } : params ? { stream, params } : { stream });
