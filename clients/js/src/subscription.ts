// What one component holds: its own listeners on a feed that others may listen to as well.

/// <reference lib="esnext.disposable" preserve="true" />

import type { Feed, Listener as FeedListener } from "./feed.js";
import type { Logger } from "./options.js";
import type { DataOf, KindOf, OfKind } from "./types.js";
import type { Message } from "./wire.js";

type Listener<M> = (data: any, message: M) => void;

interface Seat {
  kind: string;
  listener: Listener<any>;
  /** It has been shown the state, or did not ask for it: what happens now is for it. */
  isSeated: boolean;
}

const SYMBOL_DISPOSE: typeof Symbol.dispose = Symbol.dispose ?? (Symbol.for("Symbol.dispose") as any);
const MOST_QUEUED = 10_000; // messages of a loop that does not come back: minutes of a busy stream, some megabytes

export class Subscription<M = Message> implements FeedListener {
  readonly #feed: Feed;
  readonly #log: Logger;
  #seats: Seat[] = [];
  #isSettling = false;
  #isClosed = false;
  readonly #ends = new Set<() => void>();

  constructor(feed: Feed, log: Logger) {
    this.#feed = feed;
    this.#log = log;
    feed.join(this);
  }

  /** What the daemon has answered so far. */
  get state(): Feed["state"] {
    return this.#feed.state;
  }

  /**
   * Calls back for every message of a kind, or with `"*"` for all. Who listens to `full_update` keeps the state: it is shown what
   * there is and what has happened since, also when it comes late. Who does not hears what happens from now on.
   */
  on<K extends KindOf<M> | "*">(
    kind: K,
    listener: (data: DataOf<OfKind<M, K>>, message: OfKind<M, K>) => void,
  ): this {
    if (this.#isClosed) return this;
    this.#seats = [...this.#seats, { kind, listener: listener as Listener<any>, isSeated: false }];
    if (!this.#isSettling) queueMicrotask(() => this.#settle());
    this.#isSettling = true;
    return this;
  }

  off<K extends KindOf<M> | "*">(kind: K, listener: (data: any, message: any) => void): this {
    this.#seats = this.#seats.filter((seat) => seat.kind !== kind || seat.listener !== listener);
    return this;
  }

  /** The last one that closes ends the subscription. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#seats = [];
    this.#feed.leave(this);
    for (const end of this.#ends) end();
  }

  [SYMBOL_DISPOSE](): void {
    this.close();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<M, void, undefined> {
    let queue: M[] = [];
    let wake = () => {};
    const listener = (_: unknown, message: M) => {
      if (queue.length <= MOST_QUEUED) queue.push(message);
      wake();
    };
    const end = () => wake();
    this.#ends.add(end);
    this.on("*", listener);
    try {
      while (!this.#isClosed || queue.length) {
        const taken = queue;
        if (taken.length > MOST_QUEUED) throw new Error(`more than ${MOST_QUEUED} messages wait`);
        queue = [];
        yield* taken;
        if (!queue.length && !this.#isClosed) await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.#ends.delete(end);
      this.off("*", listener);
    }
  }

  /** For the feed: whether somebody has yet to be shown what there is. */
  get isWaiting(): boolean {
    return this.#keepsState && this.#seats.some((seat) => !seat.isSeated);
  }

  /** For the feed: what happens now. */
  hear(message: Message): void {
    for (const seat of this.#seats) if (seat.isSeated) this.#tell(seat, message);
  }

  /** For the feed: what there is, for those who have not been shown it, and what has happened since. */
  begin(messages: readonly Message[]): void {
    const seats = this.#seats.filter((seat) => !seat.isSeated);
    for (const seat of seats) seat.isSeated = true;
    for (const message of messages) for (const seat of seats) this.#tell(seat, message);
  }

  /** For the feed: all that was shown is void. */
  unseat(): void {
    if (this.#keepsState) for (const seat of this.#seats) seat.isSeated = false;
  }

  /** For the feed: about the subscription itself, for everybody. */
  notify(message: Message): void {
    for (const seat of this.#seats) this.#tell(seat, message);
  }

  get #keepsState(): boolean {
    return this.#seats.some(({ kind }) => kind === "full_update" || kind === "*");
  }

  /** One turn after the listeners came, so that all of one turn are shown everything in order. */
  #settle(): void {
    this.#isSettling = false;
    const fresh = this.#seats.filter((seat) => !seat.isSeated);
    const status = this.#feed.status;
    if (status) for (const seat of fresh) this.#tell(seat, status);
    if (this.#keepsState) this.#feed.show(this);
    else this.begin([]);
  }

  #tell(seat: Seat, message: Message): void {
    if (seat.kind !== "*" && seat.kind !== message.type) return;
    if (!this.#seats.includes(seat)) return; // another listener took it away just now
    try {
      seat.listener(message.data, message);
    } catch (error) {
      this.#log.error(`a listener of ${message.stream} ${message.type} failed`, error);
    }
  }
}
