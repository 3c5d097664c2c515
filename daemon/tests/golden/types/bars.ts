// Made by `broadcastd schema ts` from what the broadcasters declare; do not edit.

/** Says who the client is. What it says behind it waits for the answer. */
export interface Auth {
  type: "auth";
  id?: Id | null;
  token: string;
}

/** The mark by which a client recognises the answer: a string or a number of at most 128 bytes, echoed as it was written. */
export type Id = string | number;

/** Asks for events: answered by `subscribed`, then by a `full_update` or the missed events. */
export type Subscribe = {
  type: "subscribe";
  /** Has events come together as a `batch`, at most once in so many milliseconds. */
  batch_ms?: number | null;
  id?: Id | null;
  /** Parameters of the stream's template; a missing one takes its default, and is a wildcard without one. */
  params?: { [key: string]: Param | null } | null;
  /** The position of the last message that the client has; what came after it follows if it is still there. */
  since?: Position | null;
  /** A stream by its name. */
  stream?: string | null;
  /** A full topic, `bars:AAPL:1`, or a pattern, `bars:*:1`; not together with `params`. */
  topic?: string | null;
} & ({ params?: null; topic: string } | { stream: string; topic?: null });

/** The value of a parameter, or several, which name several topics. */
export type Param = Scalar | Scalar[];

/** A place in a stream that a client remembers. */
export interface Position {
  /** The life of the numbering. */
  epoch: string;
  /** The number in the stream. */
  seq: number;
}

/** A value of a parameter: text, or what is taken as text. */
export type Scalar = string | number | boolean;

/** Ends exactly the subscriptions that `subscribe` with the same words makes. */
export type Unsubscribe = {
  type: "unsubscribe";
  id?: Id | null;
  /** Parameters of the stream's template; a missing one takes its default, and is a wildcard without one. */
  params?: { [key: string]: Param | null } | null;
  /** A stream by its name. */
  stream?: string | null;
  /** A full topic, `bars:AAPL:1`, or a pattern, `bars:*:1`; not together with `params`. */
  topic?: string | null;
} & ({ params?: null; topic: string } | { stream: string; topic?: null });

/** Asks for the records of topics without subscribing to them. */
export type Snapshot = {
  type: "snapshot";
  id?: Id | null;
  /** Parameters of the stream's template; a missing one takes its default, and is a wildcard without one. */
  params?: { [key: string]: Param | null } | null;
  /** A stream by its name. */
  stream?: string | null;
  /** A full topic, `bars:AAPL:1`, or a pattern, `bars:*:1`; not together with `params`. */
  topic?: string | null;
} & ({ params?: null; topic: string } | { stream: string; topic?: null });

/** Asks for the names of the streams that the client may subscribe to. */
export interface Streams {
  type: "streams";
  id?: Id | null;
}

/** Asks for a `pong`. */
export interface Ping {
  type: "ping";
  id?: Id | null;
}

/** Publishes an event to a declared stream, for those whose token may. */
export type Publish = {
  type: "publish";
  /** Private streams: the user it is for. */
  audience?: string | null;
  /** The event's payload; none is {}. */
  data?: { [key: string]: unknown } | null;
  id?: Id | null;
  /** Identity inside the topic: the newest event of a key leaves a record. */
  key?: string | null;
  /** What happened: the `type` of the event. */
  kind: string;
  /** What a snapshot shows for the key in place of `data`. */
  record?: { [key: string]: unknown } | null;
  /** A session of the publisher's own. */
  session_id?: string | null;
  /** The stream, where there is no topic; both together have to agree. */
  stream?: string | null;
  /** When it happened, RFC 3339; missing is now. */
  timestamp?: string | null;
  /** The event's full topic. Without one it is the stream's root topic. */
  topic?: string | null;
} & ({ topic: string } | { stream: string }) & ({ record?: null } | { key: string });

/** What every message from the daemon has, and what some have beside it. */
export interface Message<Kind extends string, Stream extends string, Data> {
  /** The event's payload, or what the daemon has to say. */
  data: Data;
  /** A session of the publisher's own. */
  session_id: string | null;
  /** The stream, or "system" in messages that are about none. */
  stream: Stream;
  /** UTC, RFC 3339 with three decimals; of an event: when it was published or, if the publisher said so, happened. */
  timestamp: string;
  /** What happened: the event's own kind, or one of the daemon's words. */
  type: Kind;
}

/** The answer to a command. */
export type ResponseData =
  | /** The token was taken. */
    {
      status: "authenticated";
      /** When its rights end. */
      expires?: string;
      /** Who the client is from now on. */
      user: string;
    }
  | /** Events follow: behind a `full_update`, or with `recovered` behind exactly those that were missed. */
    {
      status: "subscribed";
      epoch: string;
      /** The parameters as the client wrote them. */
      params?: { [key: string]: unknown };
      recovered: boolean;
      /** The topic as the client wrote it, where that was another spelling. */
      requested?: string;
      /** The full topic. */
      topic?: string;
      /** The full topics, where the client named several. */
      topics?: string[];
    }
  | /** No further event of it follows. */
    {
      status: "unsubscribed";
      /** The parameters as the client wrote them. */
      params?: { [key: string]: unknown };
      /** The topic as the client wrote it, where that was another spelling. */
      requested?: string;
      /** The full topic. */
      topic?: string;
      /** The full topics, where the client named several. */
      topics?: string[];
    }
  | /** A `full_update` follows. */
    {
      status: "snapshot";
      epoch: string;
      /** The parameters as the client wrote them. */
      params?: { [key: string]: unknown };
      /** The topic as the client wrote it, where that was another spelling. */
      requested?: string;
      /** The full topic. */
      topic?: string;
      /** The full topics, where the client named several. */
      topics?: string[];
    }
  | /** The streams that the client may subscribe to. */ { status: "streams"; streams: string[] }
  | /**
     * The published event is in the log: with the message's `seq` the epoch is its position. In a private stream there is
     * none to tell.
     */
    { status: "accepted"; epoch?: string }
  | /** The command was carried out. */
    {
      status: "ok";
      /** What it gives back. */
      result: unknown;
    };

/** What the daemon says unasked, and `pong`. */
export type StatusData =
  | /** The first message of every connection. */
    {
      status: "connected";
      client_id: string;
      /** How often the daemon pings a quiet client, in seconds. */
      heartbeat_s: number;
      protocol: string;
      streams: string[];
      /** Who the client is, where that is known already. */
      user?: string;
    }
  | /** The answer to `ping`. */ { status: "pong" }
  | /** The stream's broadcaster does not run, so no events come; the subscription stays. */
    { status: "no_source"; reason: string }
  | /** The stream's events come again. */ { status: "source" }
  | /** The user has logged out; the connection ends. */ { status: "logged_out" }
  | /** The client was too slow and did not get all events up to the number `to`. */
    {
      status: "lagged";
      /** How many events were left out. */
      dropped?: number;
      from: number;
      policy: string;
      /** How many events gave way to newer ones. */
      replaced?: number;
      to: number;
    };

/** Why a message was not obeyed. The connection stays, unless the error is about who the client is: then it may be closed behind it. */
export interface ErrorData {
  code: ErrorCode;
  /** For people; it may change. */
  message: string;
  /** After how many milliseconds the same may be carried out. */
  retry_ms?: number;
}

/** The error codes of the native protocol, which every dialect maps to its own words. */
export type ErrorCode =
  | "invalid_json"
  | "invalid_message"
  | "unknown_type"
  | "missing_stream"
  | "unknown_stream"
  | "invalid_params"
  | "authentication_required"
  | "forbidden"
  | "not_subscribed"
  | "rate_limited"
  | "too_many_subscriptions"
  | "command_failed"
  | "internal";

export interface Event<Kind extends string, Stream extends string, Data> extends Message<Kind, Stream, Data> {
  /** The previous number of the same topic; missing in a topic's first event. */
  prev?: number;
  /** The number in the stream; each event of a stream has its own, rising. */
  seq: number;
  /** The full topic. */
  topic: string;
}

export interface FullUpdate<Stream extends string, Records> extends Message<"full_update", Stream, Records> {
  /** The life of the numbering. */
  epoch: string;
  /** The `id` of the message that this answers. */
  id?: Id;
  /** True when it replaces what the client knows. */
  resync?: boolean;
  /** The number in the stream; each event of a stream has its own, rising. */
  seq: number;
  /** The full topic. */
  topic?: string;
  /** The full topics, where a subscription names several. */
  topics?: string[];
}

export interface Response extends Message<"response", string, ResponseData> {
  /** The `id` of the message that this answers. */
  id?: Id;
  /** The number in the stream; each event of a stream has its own, rising. */
  seq?: number;
}

export interface Status extends Message<"status", string, StatusData> {
  /** The `id` of the message that this answers. */
  id?: Id;
}

export interface ErrorMessage extends Message<"error", string, ErrorData> {
  /** The `id` of the message that this answers. */
  id?: Id;
}

/** Several messages of a subscription that asked for it, in order. */
export interface Batch extends Message<"batch", string, { messages: ServerMessage[] }> {}

/** An open-high-low-close bar, whole at every update. */
export interface BarsBar {
  close: number;
  /** Whether the bar is closed. */
  final: boolean;
  high: number;
  low: number;
  open: number;
  /** How long the bar lasts: `100T` trades, `30S` seconds, `5` minutes, `1D`, `1W`, `1M`. */
  resolution: string;
  /** How often a late trade has changed the closed bar. */
  revision: number;
  /** What was traded. */
  symbol: string;
  /** Milliseconds since 1970 (UTC): the start of the bar; of a day, week or month its first date at 00:00 UTC. */
  time: number;
  volume: number;
}

/** What a `full_update` of `bars` shows. */
export interface BarsRecords {
  bars: BarsBar[];
}

/** The parameters of `bars:{symbol}:{resolution}`. */
export type BarsParams = {
  symbol?: Param;
  /** "1" unless it is given. "D" is "1D". "M" is "1M". "W" is "1W". */
  resolution?: Param;
};

/** What is said on `bars`. */
export type BarsMessage = Event<"bar", "bars", BarsBar> | FullUpdate<"bars", BarsRecords>;

/** Whatever a client may say. */
export type ClientMessage = Auth | Subscribe | Unsubscribe | Snapshot | Streams | Ping | Publish;

/** Whatever the daemon says. */
export type ServerMessage = Response | Status | ErrorMessage | Batch | BarsMessage;

/** The messages of each stream, by its name. */
export interface StreamMessages {
  bars: BarsMessage;
}

/** The parameters of each stream, by its name. */
export interface StreamParams {
  bars: BarsParams;
}

export type StreamName = keyof StreamMessages;
