// The life of the one connection: it opens, says who it is, stays awake, and comes back when it breaks.

import { delay } from "./backoff.js";
import { judge } from "./closing.js";
import type { Settings, Socket, SocketClass } from "./options.js";
import { type Message, read } from "./wire.js";

/** `idle` has not been wanted yet; `waiting` comes back by itself; `closed` does not, unless it is opened again. */
export type State = "idle" | "connecting" | "connected" | "waiting" | "closed";

/** Who is told what happens. */
export interface Ear {
  /** Something can be said from now on; what was said on the connection before is forgotten. */
  opened(): void;
  heard(message: Message | undefined): void;
  lost(): void;
  changed(): void;
}

const PROTOCOL = "broadcastd.v1";
const CONNECT_WITHIN_MS = 10_000; // token, handshake and welcome; as long as the daemon waits for a request
const HEARTBEAT_MS = 30_000; // of silence, until the welcome says how often the daemon itself looks
const PONG_WITHIN_MS = 10_000; // far longer than any round trip, well below the 90 s after which the daemon gives up
const HEALTHY_AFTER_MS = 10_000; // a connection that breaks sooner is one more failure in a row
const REFRESH_BEFORE_MS = 30_000; // enough for a slow sign-in service; of shorter tokens half their life
const REFRESH_AGAIN_MS = 5_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1; // timers overflow beyond
const FALL_BACK_AFTER = 2; // tries that never led to a welcome; one may be chance
const TEXT_LENGTH = 16_384; // of objects in one text: with three bytes a letter still below the daemon's 64 KiB

type Timer = "connect" | "watch" | "health" | "refresh" | "retry";

export class Connection {
  state: State = "idle";
  /** Why it is waiting or closed. */
  reason = "";
  /** Something can be said. */
  isOpen = false;
  #socket: Socket | undefined;
  #life = 0;
  /** Tries that never led to a welcome. */
  #failures = 0;
  /** Connections in a row that did not hold. */
  #breaks = 0;
  #isHeard = false;
  #heartbeat = HEARTBEAT_MS;
  #unsaid: string[] = [];
  readonly #timers = new Map<Timer, unknown>();
  readonly #wake = () => this.#nudge();
  readonly #settings: Settings;
  readonly #ear: Ear;

  constructor(settings: Settings, ear: Ear) {
    this.#settings = settings;
    this.#ear = ear;
  }

  /** Connects, unless it does already. */
  open(): void {
    if (this.state !== "idle" && this.state !== "closed") return;
    globalThis.addEventListener?.("online", this.#wake);
    globalThis.document?.addEventListener("visibilitychange", this.#wake);
    void this.#dial();
  }

  /** Whatever is said in one turn goes out as one text. Where nothing is open, nothing is said. */
  say(message: object): void {
    if (!this.isOpen) return;
    if (this.#unsaid.push(JSON.stringify(message)) === 1) queueMicrotask(() => this.#flush());
  }

  close(reason = "closed here"): void {
    this.#end();
    globalThis.removeEventListener?.("online", this.#wake);
    globalThis.document?.removeEventListener("visibilitychange", this.#wake);
    this.#become("closed", reason);
  }

  async #dial(): Promise<void> {
    const life = ++this.#life;
    this.#become("connecting", "");
    this.#after("connect", CONNECT_WITHIN_MS, () => this.#lost(0, "no answer"));
    try {
      const token = await this.#token();
      if (life !== this.#life) return;
      this.#listen(new (this.#transport())(this.#settings.url, PROTOCOL), token);
    } catch (error) {
      if (life === this.#life) this.#lost(0, String(error));
    }
  }

  async #token(): Promise<string | null | undefined> {
    const { token } = this.#settings;
    return typeof token === "function" ? token() : token;
  }

  #transport(): SocketClass {
    const { sockets } = this.#settings;
    const transport = sockets[Math.floor(this.#failures / FALL_BACK_AFTER) % sockets.length] ?? globalThis.WebSocket;
    if (!transport) throw new Error("no WebSocket here: give one as the option `socket`");
    return transport;
  }

  #listen(socket: Socket, token: string | null | undefined): void {
    this.#socket = socket;
    socket.onopen = () => {
      this.isOpen = true;
      if (token) this.say({ type: "auth", token });
      this.#ear.opened();
    };
    socket.onmessage = ({ data }) => {
      this.#isHeard = true;
      const message = read(data);
      if (message?.type === "status" && message.data.status === "connected") this.#welcomed(message);
      if (message?.type === "response" && message.data.status === "authenticated") this.#authenticated(message);
      this.#ear.heard(message);
    };
    socket.onclose = ({ code, reason }) => this.#lost(code, reason);
    socket.onerror = () => {}; // the close that follows says more
  }

  #welcomed({ data }: Message): void {
    this.#cancel("connect");
    this.#failures = 0;
    this.#after("health", HEALTHY_AFTER_MS, () => (this.#breaks = 0));
    this.#heartbeat = data.heartbeat_s * 1000 || HEARTBEAT_MS;
    this.#watch();
    this.#become("connected", "");
  }

  /** Silence is asked about, and an unanswered question ends the connection: the platform alone may take minutes. */
  #watch(): void {
    this.#isHeard = false;
    this.#after("watch", this.#heartbeat, () => (this.#isHeard ? this.#watch() : this.#probe()));
  }

  #probe(): void {
    this.#isHeard = false;
    this.say({ type: "ping" });
    this.#after("watch", PONG_WITHIN_MS, () => (this.#isHeard ? this.#watch() : this.#lost(0, "silence")));
  }

  /** The network or the reader is back: what waits tries at once, what seems connected proves it. */
  #nudge(): void {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (this.state === "waiting") void this.#dial();
    if (this.state === "connected") this.#probe();
  }

  /** Both times are the daemon's, so that this clock may be wrong. */
  #authenticated({ data, timestamp }: Message): void {
    if (!data.expires || typeof this.#settings.token !== "function") return;
    const life = Date.parse(data.expires) - Date.parse(timestamp);
    this.#after("refresh", Math.max(life - REFRESH_BEFORE_MS, life / 2), () => this.#refresh());
  }

  async #refresh(): Promise<void> {
    const life = this.#life;
    try {
      const token = await this.#token();
      if (life === this.#life && token) this.say({ type: "auth", token });
    } catch (error) {
      if (life !== this.#life) return;
      this.#settings.log.warn("no new token yet", error);
      this.#after("refresh", REFRESH_AGAIN_MS, () => this.#refresh());
    }
  }

  #lost(code: number, reason: string): void {
    if (this.state === "connecting") this.#failures++;
    this.#end();
    const verdict = judge(code, reason, this.#settings.token);
    const why = `${reason || "it broke"} (${code})`;
    if (!verdict.retry) {
      this.#settings.log.error(`closed for good: ${why}`);
      return this.close(why);
    }
    const wait = delay(this.#breaks++, this.#settings.clock.random);
    this.#after("retry", verdict.after ?? wait, () => this.#dial());
    this.#become("waiting", why);
  }

  /** Ends the connection of the moment and every timer of its own. */
  #end(): void {
    this.#life++;
    for (const name of this.#timers.keys()) this.#cancel(name);
    const [socket, wasOpen] = [this.#socket, this.isOpen];
    this.#socket = undefined;
    this.isOpen = false;
    this.#unsaid = [];
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    if (wasOpen) this.#ear.lost();
  }

  #flush(): void {
    let text = "";
    for (const said of this.#unsaid) {
      if (text && text.length + said.length > TEXT_LENGTH) {
        this.#socket?.send(text);
        text = "";
      }
      text += text ? `\n${said}` : said;
    }
    this.#unsaid = [];
    if (text) this.#socket?.send(text);
  }

  #become(state: State, reason: string): void {
    if (state === this.state && reason === this.reason) return;
    [this.state, this.reason] = [state, reason];
    this.#settings.log.debug(state, reason);
    this.#ear.changed();
  }

  #after(name: Timer, ms: number, run: () => void): void {
    this.#cancel(name);
    this.#timers.set(name, this.#settings.clock.setTimeout(run, Math.min(ms, LONGEST_TIMER_MS)));
  }

  #cancel(name: Timer): void {
    this.#settings.clock.clearTimeout(this.#timers.get(name));
    this.#timers.delete(name);
  }
}
