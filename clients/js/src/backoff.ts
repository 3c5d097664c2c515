// How long to wait before the next try: full jitter, so that clients that lost the same daemon do not return as one.

const FIRST_MS = 500; // long enough for a process to be started again
const MOST_MS = 20_000; // short enough for a person who waits in front of a page

export class Backoff {
  #tries = 0;

  constructor(private readonly random: () => number) {}

  /** Milliseconds until the next try: anything up to a bound that doubles with each. */
  next(): number {
    return this.random() * Math.min(MOST_MS, FIRST_MS * 2 ** this.#tries++);
  }

  /** The connection has held. */
  reset(): void {
    this.#tries = 0;
  }
}
