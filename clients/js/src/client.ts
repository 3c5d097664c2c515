// One connection for a whole page: who subscribes to what, and which message is whose.

import { Connection, type State } from "./connection.js";
import { Feed } from "./feed.js";
import { type Options, settle, type Settings } from "./options.js";
import { Requests } from "./requests.js";
import { Subscription } from "./subscription.js";
import type { AnyStreams, Heard, ParamsOf, StreamOf, Target } from "./types.js";
import { matches, type Message, type Position, type Words } from "./wire.js";

export interface SubscribeOptions {
  /** Has events come together, at most once in so many milliseconds. */
  batchMs?: number;
  /** Where to go on from, as remembered by an earlier page; without it everything begins with a snapshot. */
  since?: Position;
}

export interface PublishOptions {
  key?: string;
  record?: object;
  audience?: string;
  session_id?: string;
  timestamp?: string;
}

const HEARD_TOPICS = 1_000; // a bound for streams whose topics never end
const RETRY_MS = 1_000; // where the daemon refuses for a while and does not say for how long

export class Client<S = AnyStreams, P = {}> {
  /** Messages that were none: they are counted, and nothing is thrown. */
  readonly ignored = { unreadable: 0, withoutStream: 0 };
  readonly #settings: Settings;
  readonly #connection: Connection;
  readonly #requests: Requests;
  readonly #feeds = new Map<string, Feed>();
  readonly #watchers = new Set<() => void>();
  /** Feeds without listeners whose time is over; they leave when nobody's answer is on its way. */
  readonly #leaving = new Set<Feed>();
  /** Whom events of a topic are for, as long as nobody comes or goes. */
  readonly #hearers = new Map<string, Feed[]>();
  /** Whose snapshot comes next: it follows its answer directly. */
  #promised: Feed | undefined;

  constructor(options: Options = {}) {
    this.#settings = settle(options);
    this.#connection = new Connection(this.#settings, {
      opened: () => this.#opened(),
      heard: (message) => this.#heard(message),
      lost: () => this.#lost(),
      changed: () => this.#changed(),
    });
    this.#requests = new Requests(this.#connection, this.#settings.clock);
  }

  get state(): State {
    return this.#connection.state;
  }

  /** Why it waits or is closed. */
  get reason(): string {
    return this.#connection.reason;
  }

  get isConnected(): boolean {
    return this.state === "connected";
  }

  /** Calls back when `state` and `isConnected` change; what it returns ends that. */
  watch(listener: () => void): () => void {
    this.#watchers.add(listener);
    return () => this.#watchers.delete(listener);
  }

  /** Listens to a stream, a topic or a pattern. Who asks for the same shares one subscription on the wire. */
  subscribe<T extends Target<S>>(target: T, params?: ParamsOf<P, StreamOf<T>>, options: SubscribeOptions = {}): Subscription<Heard<S, T>> {
    const words: Words = target.includes(":") ? { topic: target } : params ? { stream: target, params: params as {} } : { stream: target };
    const subscription = new Subscription<Heard<S, T>>(this.feed(words, options), this.#settings.log);
    if (this.state === "idle") this.open();
    return subscription;
  }

  /** What subscriptions to the same share; for those who pass it on. */
  feed(words: Words, { batchMs, since }: SubscribeOptions = {}): Feed {
    const params = Object.entries("stream" in words ? (words.params ?? {}) : {});
    const key = JSON.stringify([{ ...words, params: params.sort(([a], [b]) => (a < b ? -1 : 1)) }, batchMs, since]);
    let feed = this.#feeds.get(key);
    if (!feed) {
      feed = new Feed(words, batchMs, { renew: (renewed) => this.#renew(renewed), emptied: (emptied) => this.#emptied(key, emptied) });
      feed.position = since;
      this.#feeds.set(key, feed);
      this.#ask(feed);
    }
    this.#leaving.delete(feed);
    return feed;
  }

  /** Asks a broadcaster for something; what it says is the result. */
  async command(stream: keyof S & string, command: string, data?: unknown): Promise<unknown> {
    return (await this.request({ type: "command", stream, command, data })).data.result;
  }

  /** Publishes an event, where the token may; its position, which events of private streams do not have. */
  async publish(topic: string, kind: string, data: object, options: PublishOptions = {}): Promise<Position | undefined> {
    const { seq, data: said } = await this.request({ type: "publish", topic, kind, data, ...options });
    return said.epoch && { epoch: said.epoch, seq: seq! };
  }

  /** Says who this client is from now on, without a new connection. */
  async authenticate(token: string): Promise<{ user: string; expires?: string }> {
    return (await this.request({ type: "auth", token })).data;
  }

  /** Says anything and gives the daemon's answer as it is; for those who pass it on. */
  request(message: object): Promise<Message> {
    if (this.state === "idle") this.open();
    return this.#requests.ask(message);
  }

  /** Opens the connection before anything needs it, or again after it was closed for good. */
  open(): void {
    this.#connection.open();
  }

  /** Ends the connection; who subscribed hears nothing more, until `open` is called. */
  close(): void {
    this.#connection.close();
  }

  #opened(): void {
    this.#requests.opened(); // first, because one of them may say who this is
    for (const feed of this.#feeds.values()) this.#ask(feed);
  }

  #lost(): void {
    this.#promised = undefined;
    this.#requests.lost();
    for (const feed of this.#feeds.values()) feed.pause();
    for (const feed of this.#leaving) this.#forget(feed);
  }

  #changed(): void {
    for (const watcher of this.#watchers) {
      try {
        watcher();
      } catch (error) {
        this.#settings.log.error("a watcher failed", error);
      }
    }
    if (this.state === "closed") this.#requests.close(this.reason);
  }

  #ask(feed: Feed): void {
    if (!this.#connection.isOpen) return;
    feed.state = "asked";
    this.#say("subscribe", feed, { since: feed.position, batch_ms: feed.batchMs });
  }

  #renew(feed: Feed): void {
    this.#say("snapshot", feed);
  }

  #say(type: string, feed: Feed, more?: object): void {
    this.#requests.say({ type, ...feed.words, ...more }, (message) => {
      const { status, recovered } = message.data;
      if (message.type === "error") this.#refused(feed, message);
      else if (status === "subscribed") feed.subscribed(message);
      if (message.type !== "error" && !recovered) this.#promised = feed;
      this.#hearers.clear();
      this.#sweep();
    });
  }

  #refused(feed: Feed, message: Message): void {
    const { code, message: why, retry_ms } = message.data;
    feed.refused(message);
    this.#settings.log.warn(`${JSON.stringify(feed.words)} was refused: ${why}`);
    if (code !== "rate_limited") return;
    const again = () => feed.listeners.size && feed.state === "refused" && this.#ask(feed);
    this.#settings.clock.setTimeout(again, retry_ms ?? RETRY_MS);
  }

  #emptied(key: string, feed: Feed): void {
    this.#settings.clock.setTimeout(() => {
      if (feed.listeners.size || this.#feeds.get(key) !== feed) return;
      this.#leaving.add(feed);
      this.#sweep();
    }, this.#settings.linger);
  }

  /** While an answer is on its way nobody knows whether it names the topics of one who leaves. */
  #sweep(): void {
    if ([...this.#feeds.values()].some((feed) => feed.state === "asked")) return;
    for (const feed of this.#leaving) {
      this.#forget(feed);
      const kept = new Set([...this.#feeds.values()].flatMap((other) => other.patterns));
      const over = feed.patterns.filter((pattern) => !kept.has(pattern));
      if (feed.state !== "live") continue;
      const all = over.length === feed.patterns.length ? [feed.words] : over.map((topic) => ({ topic }));
      for (const words of all) this.#connection.say({ type: "unsubscribe", ...words });
    }
  }

  #forget(feed: Feed): void {
    this.#hearers.clear();
    this.#leaving.delete(feed);
    for (const [key, known] of this.#feeds) if (known === feed) this.#feeds.delete(key);
  }

  #heard(message: Message | undefined): void {
    if (!message) return this.#ignore("unreadable");
    if (typeof message.stream !== "string") return this.#ignore("withoutStream");
    if (message.type === "batch") for (const each of message.data.messages) this.#heard(each);
    else if (this.#requests.answered(message)) return;
    else if (message.type === "full_update") this.#shown(message);
    else if (message.type === "status") this.#told(message);
    else if (message.type === "error") this.#complained(message);
    else if (message.topic) for (const feed of this.#hearersOf(message.topic)) feed.happened(message);
  }

  #hearersOf(topic: string): Feed[] {
    let found = this.#hearers.get(topic);
    if (!found) {
      found = [...this.#feeds.values()].filter((feed) => feed.patterns.some((pattern) => matches(pattern, topic)));
      if (this.#hearers.size >= HEARD_TOPICS) this.#hearers.clear();
      this.#hearers.set(topic, found);
    }
    return found;
  }

  #ignore(what: "unreadable" | "withoutStream"): void {
    this.ignored[what]++;
    this.#settings.log.debug("ignored", what);
  }

  #shown(message: Message): void {
    if (!message.resync) {
      this.#promised?.shown(message);
      return void (this.#promised = undefined);
    }
    // It shows all that this connection hears of the stream; whose topics are fewer asks for its own.
    const shown = String(message.topics ?? message.topic);
    for (const feed of this.#feedsOf(message)) {
      if (feed.state !== "live") continue;
      feed.outdate();
      if (String(feed.patterns) === shown) feed.shown(message);
      else {
        feed.state = "asked";
        this.#renew(feed);
      }
    }
  }

  #told(message: Message): void {
    for (const feed of this.#feedsOf(message)) {
      if (message.data.status === "lagged") feed.lagged(message);
      else feed.sourced(message);
    }
  }

  /** Errors that answer nothing: what a subscription may no longer read ends. */
  #complained(message: Message): void {
    this.#settings.log.warn(`${message.data.code}: ${message.data.message}`);
    if (message.data.code !== "forbidden") return;
    for (const feed of this.#feedsOf(message)) feed.refused(message);
  }

  #feedsOf({ stream }: Message): Feed[] {
    return [...this.#feeds.values()].filter((feed) => feed.isOf(stream));
  }
}
