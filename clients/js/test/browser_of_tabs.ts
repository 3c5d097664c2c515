// As much of a browser as tabs need: locks that end with the tab, channels between tabs, and a line to the daemon.

import { WebSocket } from "ws";
import { type SocketClass } from "../src/index.js";
import { tabs } from "../src/tabs.js";

type Waiting = { tab: Tab; run: () => unknown };

let browsers = 0;

export class Browser {
  /** Channels of one process reach each other, those of two browsers do not. */
  readonly name = `browser ${++browsers}`;
  /** Every connection that any tab ever made. */
  readonly connections: WebSocket[] = [];
  readonly held = new Map<string, Waiting[]>();

  tab(): Tab {
    return new Tab(this);
  }

  request(name: string, waiting: Waiting): void {
    const queue = this.held.get(name) ?? [];
    this.held.set(name, queue);
    queue.push(waiting);
    if (queue.length === 1) this.grant(name);
  }

  grant(name: string): void {
    const [first] = this.held.get(name) ?? [];
    if (!first) return;
    void Promise.resolve().then(async () => {
      if (this.held.get(name)?.[0] !== first) return;
      await first.run();
      this.release(name, first);
    });
  }

  release(name: string, waiting: Waiting): void {
    const queue = this.held.get(name)!;
    const wasFirst = queue[0] === waiting;
    queue.splice(queue.indexOf(waiting), 1);
    if (wasFirst) this.grant(name);
  }
}

export class Tab {
  readonly socket: SocketClass;
  #isGone = false;
  readonly #channels: BroadcastChannel[] = [];
  readonly #connections: WebSocket[] = [];

  constructor(private readonly browser: Browser) {
    const tab = this;
    class Own extends WebSocket {
      constructor(url: string, protocol: string) {
        super(url, protocol);
        browser.connections.push(this);
        tab.#connections.push(this);
      }
    }
    const locks = { request: (name: string, run: () => unknown) => browser.request(name, { tab, run }) } as any;
    const channels = this.#channels;
    class Channel extends BroadcastChannel {
      constructor(name: string) {
        super(name);
        (this as any).unref();
        channels.push(this);
      }
      override postMessage(message: unknown): void {
        if (!tab.#isGone) super.postMessage(message);
      }
    }
    this.socket = tabs({ name: browser.name, locks, socket: Own as any, channel: Channel });
  }

  /** Ends without a word, as a tab that crashes. */
  crash(): void {
    this.#isGone = true;
    for (const channel of this.#channels) channel.close();
    for (const connection of this.#connections) connection.terminate();
    for (const [name, queue] of this.browser.held) for (const waiting of [...queue]) if (waiting.tab === this) this.browser.release(name, waiting);
  }
}
