// What the end of a connection means for the next one, by its close code.

import type { Token } from "./options.js";

/** Whether to come back, and after how many milliseconds where the daemon said so. */
export interface Verdict {
  retry: boolean;
  after?: number;
}

/** The token is missing, wrong, over or taken back. */
const UNAUTHORIZED = 4001;
/** This client broke a rule, and would again: protocol, data, text, policy (also the operator's wish), size. */
const FINAL = [1002, 1003, 1007, 1008, 1009];

/** A token that is fetched anew may be right next time; one that is given once stays what it is. */
export function judge(code: number, reason: string, token: Token | undefined): Verdict {
  if (code === UNAUTHORIZED) return { retry: typeof token === "function" && reason !== "logged out" };
  if (FINAL.includes(code)) return { retry: false };
  const hint = /retry in (\d+) ms/.exec(reason);
  return hint ? { retry: true, after: Number(hint[1]) } : { retry: true };
}
