// The messages of the protocol as this client reads them, and what it says of its own in the same form.

/** A place in a stream that a client remembers: the life of its numbering, and a number in it. */
export interface Position {
  epoch: string;
  seq: number;
}

/** The value of a parameter; several name several topics. */
export type Param = string | number | boolean | readonly (string | number | boolean)[];
export type Params = { readonly [name: string]: Param | null | undefined };

/** What every message has, and some have beside it. */
export interface Message<Kind extends string = string, Data = any> {
  type: Kind;
  stream: string;
  session_id: string | null;
  data: Data;
  timestamp: string;
  id?: string | number;
  seq?: number;
  prev?: number;
  topic?: string;
  topics?: string[];
  epoch?: string;
  resync?: boolean;
}

/** Events that will not come any more: a `full_update` follows, and is what to go on from. */
export type Gap = Message<"gap", { reason: "resume" | "lagged"; from?: Position; dropped?: number }>;
/** Whether events come at all (`no_source`, `source`), and `lagged` where newer ones replaced older ones. */
export type Status = Message<"status", { status: string; reason?: string; replaced?: number; dropped?: number }>;
/** Why the daemon does not deliver what was subscribed to. */
export type Refusal = Message<"error", { code: string; message: string; retry_ms?: number }>;

/** What can be subscribed to, in the words of the protocol. */
export type Words = { stream: string; params?: Params } | { topic: string };

/** The message in a text, or nothing where it is none. */
export function read(text: unknown): Message | undefined {
  try {
    const message = JSON.parse(text as string);
    return message && typeof message.type === "string" && message.data ? message : undefined;
  } catch {
    return undefined;
  }
}

/** Whether an event of this topic reaches who subscribed to this pattern; both are canonical. */
export function matches(pattern: string, topic: string): boolean {
  if (pattern === topic) return true;
  const [wanted, parts] = [pattern.split(":"), topic.split(":")];
  if (!wanted[1] || !parts[1]) return wanted[0] === parts[0];
  return wanted.length === parts.length && wanted.every((part, index) => part === "*" || part === parts[index]);
}

/** The stream of a topic or pattern. */
export const streamOf = (topic: string): string => topic.split(":", 1)[0]!;
