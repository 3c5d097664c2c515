// What one tab hears of one feed of the tab that has the connection, told as the daemon would tell it.

import type { Feed, Listener } from "./feed.js";
import type { Message, Position } from "./wire.js";

export class Relay implements Listener {
  #isSeated = false;
  #isAnswered = false;
  /** What the tab still wants of it. */
  #topics: Set<string> | undefined;

  constructor(
    readonly feed: Feed,
    private readonly asked: { type: string; id: string; since?: Position },
    private readonly tell: (message: Message) => void,
  ) {}

  get isWaiting(): boolean {
    return !this.#isSeated;
  }

  join(): void {
    this.feed.join(this);
    if (this.feed.status) this.notify(this.feed.status);
    this.feed.show(this);
  }

  hear(message: Message): void {
    if (this.#isSeated) this.tell(message);
  }

  begin(messages: readonly Message[]): void {
    if (this.#isSeated) return;
    const [first, ...rest] = messages;
    if (this.#isAnswered && first) this.tell({ ...first, topics: this.feed.patterns, resync: true });
    else {
      this.#answer(false, first?.seq);
      if (first) this.tell(first);
    }
    for (const message of rest) this.tell(message);
    this.#isSeated = true;
    if (this.asked.type === "snapshot") this.feed.leave(this);
  }

  resume(feed: Feed): boolean {
    const missed = this.asked.since && feed.state === "live" && !this.#isAnswered ? feed.missed(this.asked.since) : undefined;
    if (!missed) return false;
    this.#isSeated = true;
    this.#answer(true, feed.position?.seq);
    for (const message of missed) this.tell(message);
    return true;
  }

  unseat(): void {
    this.#isSeated = false;
  }

  notify(message: Message): void {
    if (message.type === "gap") return this.#gap(message);
    const isAnswer = message.type === "error" && !this.#isAnswered;
    this.tell(isAnswer ? { ...message, id: this.asked.id } : message);
    if (isAnswer) this.feed.leave(this);
  }

  /** Whether nothing is left that the tab wants. */
  drop(topic: string): boolean {
    this.#topics ??= new Set(this.feed.patterns);
    return this.#topics.delete(topic) && !this.#topics.size;
  }

  /** Who has heard nothing yet misses nothing that its own answer does not say. */
  #gap(message: Message): void {
    const data = { status: "lagged", dropped: 1, ...message.data };
    if (this.#isSeated) this.tell({ ...message, type: "status", data });
  }

  #answer(recovered: boolean, seq: number | undefined): void {
    this.#isAnswered = true;
    const { patterns, position, words } = this.feed;
    const stream = "stream" in words ? words.stream : patterns[0]!.split(":")[0]!;
    const status = this.asked.type === "snapshot" ? "snapshot" : "subscribed";
    const data = { status, topics: patterns, epoch: position?.epoch, recovered };
    this.tell({ type: "response", stream, session_id: null, data, timestamp: new Date().toISOString(), id: this.asked.id, seq: seq ?? position?.seq });
  }
}
