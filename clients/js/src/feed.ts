// One (stream, params) of the page: what the daemon said about it, and everybody who listens.

import { type Gap, type Message, type Position, streamOf, type Words } from "./wire.js";

/** `asked` waits for the answer; `live` hears what happens; `refused` is told why in an `error`. */
export type FeedState = "idle" | "asked" | "live" | "refused";

/** Who listens to a feed. */
export interface Listener {
  /** It has yet to be shown what there is. */
  readonly isWaiting: boolean;
  /** What happens now. */
  hear(message: Message): void;
  /** What there is, and what has happened since. */
  begin(messages: readonly Message[]): void;
  /** All that was shown is void. */
  unseat(): void;
  /** About the subscription itself. */
  notify(message: Message): void;
  /** Whether it goes on from a place of its own. */
  resume?(feed: Feed): boolean;
}

/** What a feed wants from outside. */
export interface Source {
  /** Asks for the records as they are now. */
  renew(feed: Feed): void;
  /** The last one has left. */
  emptied(feed: Feed): void;
}

const TAPE_LENGTH = 256; // events behind a snapshot that late listeners are shown; beyond, a new snapshot is cheaper

export class Feed {
  state: FeedState = "idle";
  /** The last message, and with it where to go on from. */
  position: Position | undefined;
  /** The topics and patterns that the daemon understood, in its own spelling. */
  patterns: string[] = [];
  /** What is wrong with it, for those who come later. */
  status: Message | undefined;
  readonly listeners = new Set<Listener>();
  readonly #source: Source;
  /** The last snapshot, as long as all that happened since is known. */
  #snapshot: Message | undefined;
  /** All that happened behind the number `#from`, where there is one. */
  #tape: Message[] = [];
  #from: number | undefined;
  #isRenewing = false;
  /** The answer promised a snapshot; an endpoint may have none to give. */
  #isPromised = false;

  constructor(
    readonly words: Words,
    readonly batchMs: number | undefined,
    source: Source,
  ) {
    this.#source = source;
  }

  join(listener: Listener): void {
    this.listeners.add(listener);
  }

  leave(listener: Listener): void {
    this.listeners.delete(listener);
    if (!this.listeners.size) this.#source.emptied(this);
  }

  /** Shows what there is to those of the subscription who have not seen it, or asks for it. */
  show(listener: Listener): void {
    if (this.#isPromised || !listener.isWaiting || listener.resume?.(this)) return;
    if (this.#snapshot) return listener.begin([this.#snapshot, ...this.#tape]);
    if (this.state !== "live" || this.#isRenewing) return; // it comes by itself
    this.#isRenewing = true;
    this.#source.renew(this);
  }

  isOf(stream: string): boolean {
    const { words } = this;
    return [...this.patterns, "topic" in words ? words.topic : words.stream].some((pattern) => streamOf(pattern) === stream);
  }

  /** The connection is gone: what happens meanwhile is asked for by position. */
  pause(): void {
    this.state = "idle";
    this.#isRenewing = this.#isPromised = false;
  }

  /** What happened behind a number of the same numbering, if all of it is known. */
  missed({ epoch, seq }: Position): Message[] | undefined {
    const isKnown = this.#from !== undefined && seq >= this.#from && this.position?.epoch === epoch;
    return isKnown ? this.#tape.filter((message) => message.seq! > seq) : undefined;
  }

  subscribed(message: Message): void {
    const { topic, topics, epoch, recovered } = message.data;
    const from = this.position;
    this.patterns = topics ?? [topic];
    this.state = "live";
    this.status = undefined;
    if (recovered) {
      this.#from ??= from?.seq;
      for (const listener of this.listeners) this.show(listener);
      return;
    }
    this.position = { epoch, seq: message.seq! };
    this.#isPromised = true;
    if (from) this.#tellGap(message, { reason: "resume", from });
    this.outdate();
  }

  happened(message: Message): void {
    const { seq } = message;
    if (this.state !== "live") return; // the answer that is on its way has it
    if (seq !== undefined && this.position) {
      if (seq <= this.position.seq) return; // told again for another subscription
      this.position = { ...this.position, seq };
    }
    if (this.#isPromised) for (const listener of this.listeners) listener.begin([]);
    this.#isPromised = false;
    if (this.#tape.length >= TAPE_LENGTH) this.#erase();
    if (this.#from !== undefined) this.#tape.push(message);
    for (const listener of this.listeners) listener.hear(message);
  }

  /** A snapshot: of what has begun, or for those who came late. */
  shown(message: Message): void {
    this.state = "live";
    this.#isRenewing = this.#isPromised = false;
    this.position = { epoch: message.epoch!, seq: message.seq! };
    this.#erase();
    [this.#snapshot, this.#from] = [message, message.seq];
    for (const listener of this.listeners) listener.begin([message]);
  }

  /** What everybody was shown is void; another snapshot replaces it. */
  outdate(): void {
    this.#erase();
    for (const listener of this.listeners) listener.unseat();
  }

  lagged(message: Message): void {
    const { dropped } = message.data;
    if (dropped) this.#tellGap(message, { reason: "lagged", from: this.position, dropped });
    else this.#notify(message);
  }

  /** `no_source` and `source`: whether events come at all. */
  sourced(message: Message): void {
    this.status = message.data.status === "source" ? undefined : message;
    this.#notify(message);
  }

  refused(message: Message): void {
    this.state = "refused";
    this.status = message;
    this.#notify(message);
    this.outdate();
  }

  #erase(): void {
    [this.#snapshot, this.#from, this.#tape] = [undefined, undefined, []];
  }

  #tellGap(message: Message, data: Gap["data"]): void {
    const { stream, timestamp } = message;
    const gap: Gap = { type: "gap", stream, session_id: null, data, timestamp };
    this.#notify(gap);
  }

  #notify(message: Message): void {
    for (const listener of this.listeners) listener.notify(message);
  }
}
