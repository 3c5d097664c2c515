// One connection for all tabs of a browser: `connect({ socket: tabs() })`. The tab that holds a lock has it and serves the
// others over a channel; when that tab goes, another one takes over and goes on where each tab is.

import { Exchange } from "./exchange.js";
import type { Socket, SocketClass } from "./options.js";

export interface TabsOptions {
  /** Pages of the same name and url share a connection: give each user one. */
  name?: string;
  /** What the tab that leads connects by; the platform's `WebSocket` unless it is given. */
  socket?: SocketClass | readonly SocketClass[];
  /** The browser's own, unless they are given. */
  locks?: Pick<LockManager, "request">;
  channel?: typeof BroadcastChannel;
}

type Said =
  | { to: "leader"; from: string; says: "open" | "bye" }
  | { to: "leader"; from: string; says: "text"; text: string }
  | { to: "all"; says: "leads" }
  | { to: string; says: "open" }
  | { to: string; says: "text"; text: string }
  | { to: string; says: "close"; code: number; reason: string };

const LEFT = "another tab leads; retry in 0 ms";

/** Where the browser has no locks or channels, every tab has a connection of its own. */
export function tabs(options: TabsOptions = {}): SocketClass {
  const { locks = globalThis.navigator?.locks, channel: Channel = globalThis.BroadcastChannel } = options;
  const candidates = new Set<string>();
  return class implements Socket {
    onopen: Socket["onopen"] = null;
    onmessage: Socket["onmessage"] = null;
    onclose: Socket["onclose"] = null;
    onerror: Socket["onerror"] = null;
    #id = "";
    #channel: BroadcastChannel | undefined;
    #isOpen = false;
    #release = () => {};

    constructor(url: string, protocol: string) {
      if (!locks || !Channel) return own(options, url, protocol) as any;
      const name = `broadcastd ${options.name ?? ""} ${url}`;
      this.#id = crypto.randomUUID();
      this.#channel = new Channel(name);
      this.#channel.onmessage = ({ data }: MessageEvent<Said>) => this.#heard(data);
      if (!candidates.has(name)) void locks.request(`${name} leader`, () => lead(new Channel(name), url, options, locks));
      candidates.add(name);
      // Held as long as this tab lives, so that the leader learns of its end whatever ends it.
      void locks.request(`${name} ${this.#id}`, () => {
        this.#say({ to: "leader", from: this.#id, says: "open" });
        return new Promise<void>((release) => (this.#release = release));
      });
    }

    send(text: string): void {
      this.#say({ to: "leader", from: this.#id, says: "text", text });
    }

    close(): void {
      this.#say({ to: "leader", from: this.#id, says: "bye" });
      this.#leave();
    }

    #say(said: Said): void {
      this.#channel?.postMessage(said);
    }

    #heard(said: Said): void {
      if (said.to !== this.#id && said.to !== "all") return;
      if (said.says === "leads") {
        if (this.#isOpen) this.#close(1001, LEFT);
        else this.#say({ to: "leader", from: this.#id, says: "open" });
      } else if (said.says === "open" && !this.#isOpen) {
        this.#isOpen = true;
        this.onopen?.({});
        this.send('{"type":"ping"}'); // so that the leader connects, whatever else is said
      } else if (said.says === "text") this.onmessage?.({ data: said.text });
      else if (said.says === "close") this.#close(said.code, said.reason);
    }

    #close(code: number, reason: string): void {
      this.#leave();
      this.onclose?.({ code, reason });
    }

    #leave(): void {
      this.#channel?.close();
      this.#channel = undefined;
      this.#release();
    }
  };
}

function own({ socket }: TabsOptions, url: string, protocol: string): Socket {
  const [transport = globalThis.WebSocket] = [socket ?? []].flat() as SocketClass[];
  return new transport(url, protocol);
}

/** Leads until the page ends: the lock is never given back. */
function lead(channel: BroadcastChannel, url: string, { socket }: TabsOptions, locks: Pick<LockManager, "request">): Promise<never> {
  const say = (said: Said) => channel.postMessage(said);
  const exchange = new Exchange(url, socket, {
    tell: (to, text) => say({ to, says: "text", text }),
    close: (to, code, reason) => say({ to, says: "close", code, reason }),
  });
  channel.onmessage = ({ data }: MessageEvent<Said>) => {
    if (data.to !== "leader" || !("from" in data)) return;
    const { from } = data;
    if (data.says === "bye") exchange.close(from);
    else if (data.says === "text") exchange.heard(from, data.text);
    else {
      if (exchange.open(from)) void locks.request(`${channel.name} ${from}`, () => exchange.close(from));
      say({ to: from, says: "open" });
    }
  };
  say({ to: "all", says: "leads" });
  return new Promise(() => {});
}
