// What was asked for, and whose the answer is.

import type { Connection } from "./connection.js";
import type { Clock } from "./options.js";
import type { Message } from "./wire.js";

/** The daemon said no, or nobody can know what it did. */
export class RequestError extends Error {
  constructor(
    /** The daemon's own, or `connection_lost`, `closed` and `timeout`, after which it may have been done. */
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = "RequestError";
  }
}

interface Asked {
  message: object;
  isSent: boolean;
  resolve(message: Message): void;
  reject(error: RequestError): void;
}

const ANSWER_WITHIN_MS = 15_000; // the daemon gives a broadcaster 10 s for a command

export class Requests {
  readonly #connection: Connection;
  readonly #clock: Clock;
  #last = 0;
  readonly #answers = new Map<string, (message: Message) => void>();
  readonly #asked = new Map<string, Asked>();

  constructor(connection: Connection, clock: Clock) {
    this.#connection = connection;
    this.#clock = clock;
  }

  /** Says something on the connection of the moment; who answers a lost one is never called. */
  say(message: object, answered: (message: Message) => void): void {
    const id = String(++this.#last);
    this.#answers.set(id, answered);
    this.#connection.say({ ...message, id });
  }

  /** Says it now or as soon as there is a connection. */
  ask(message: object): Promise<Message> {
    const id = String(++this.#last);
    return new Promise<Message>((resolve, reject) => {
      const timer = this.#clock.setTimeout(() => this.#fail(id, "timeout", "no answer"), ANSWER_WITHIN_MS);
      const settled = () => this.#clock.clearTimeout(timer);
      this.#asked.set(id, {
        message: { ...message, id },
        isSent: false,
        resolve: (answer) => (settled(), resolve(answer)),
        reject: (error) => (settled(), reject(error)),
      });
      if (this.#connection.isOpen) this.opened();
      if (this.#connection.state === "closed") this.close(this.#connection.reason);
    });
  }

  /** Whether this answers something. */
  answered(message: Message): boolean {
    const id = String(message.id);
    const answered = this.#answers.get(id);
    this.#answers.delete(id);
    answered?.(message);
    const asked = this.#asked.get(id);
    if (!asked) return !!answered;
    if (message.type === "error") this.#fail(id, message.data.code, message.data.message);
    else asked.resolve(message);
    this.#asked.delete(id);
    return true;
  }

  opened(): void {
    for (const asked of this.#asked.values()) {
      if (!asked.isSent) this.#connection.say(asked.message);
      asked.isSent = true;
    }
  }

  lost(): void {
    this.#answers.clear();
    for (const [id, { isSent }] of this.#asked) if (isSent) this.#fail(id, "connection_lost", "it broke");
  }

  close(reason: string): void {
    for (const id of this.#asked.keys()) this.#fail(id, "closed", reason);
  }

  #fail(id: string, code: string, message: string): void {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    asked?.reject(new RequestError(code, message));
  }
}
