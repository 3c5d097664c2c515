// What a client may be given, and what holds where it is given nothing.

/** A message as the daemon has it, and what fetches a token. */
export type Token = string | (() => string | null | undefined | Promise<string | null | undefined>);

export type Level = "debug" | "info" | "warn" | "error";
export type Logger = { [level in Level]: (message: string, ...details: unknown[]) => void };

/** As much of a `WebSocket` as this client uses; other transports speak the protocol through the same. */
export interface Socket {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}
export interface SocketClass {
  new (url: string, protocol: string): Socket;
}

/** Timers and chance, so that tests hold both in their hands. */
export interface Clock {
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: any): void;
  random(): number;
}

export interface Options {
  /** Where the daemon is: `wss://…`, `https://…` or a path of this page's host; `/v1/ws` unless it is given. */
  url?: string | URL;
  /** Says who this client is. A function is asked before each connection and before the token ends. */
  token?: Token;
  /** What makes connections; where the first of several cannot connect, the next is tried. The platform's `WebSocket` unless it is given. */
  socket?: SocketClass | readonly SocketClass[];
  /** `console` unless it is given. */
  logger?: Logger;
  /** The least that is logged: `warn` unless it is given. */
  logLevel?: Level | "silent";
  /** How long a subscription outlives its last listener, so that a component may make room for the next; 100 ms. */
  linger?: number;
  clock?: Clock;
}

export interface Settings {
  url: string;
  token: Token | undefined;
  sockets: readonly SocketClass[];
  log: Logger;
  linger: number;
  clock: Clock;
}

const LEVELS = ["debug", "info", "warn", "error", "silent"];
const LINGER_MS = 100; // longer than a page needs from one view to the next, too short to cost the daemon anything

export function settle(options: Options): Settings {
  const least = LEVELS.indexOf(options.logLevel ?? "warn");
  const log = {} as Logger;
  for (const level of LEVELS.slice(0, -1) as Level[]) {
    log[level] = (message, ...details) => {
      if (LEVELS.indexOf(level) >= least) (options.logger ?? console)[level](`broadcastd: ${message}`, ...details);
    };
  }
  return {
    url: address(options.url),
    token: options.token,
    sockets: ([options.socket ?? []] as any[]).flat(),
    log,
    linger: options.linger ?? LINGER_MS,
    clock: options.clock ?? {
      setTimeout: (run, ms) => setTimeout(run, ms),
      clearTimeout: (timer) => clearTimeout(timer),
      random: Math.random,
    },
  };
}

/** The address of a WebSocket that an option names. */
export function address(url: string | URL = "/v1/ws"): string {
  return String(new URL(url, globalThis.location?.href)).replace(/^http/, "ws");
}
