// How long to wait before the next try: full jitter, so that clients that lost the same daemon do not return as one.

const FIRST_MS = 500; // long enough for a process to be started again
const MOST_MS = 20_000; // short enough for a person who waits in front of a page

/** Milliseconds until the next try after so many failures in a row: anything up to a bound that doubles with each. */
export function delay(failures: number, random: () => number): number {
  return random() * Math.min(MOST_MS, FIRST_MS * 2 ** failures);
}
