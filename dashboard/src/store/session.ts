// Who looks: the admin token if one is needed, plain questions with it, and the page's one connection.

import { signal } from "@preact/signals";
import { Client } from "broadcastd";
import { sse } from "broadcastd/sse";

const KEY = "broadcastd.token"; // for this tab only, and gone with it

/** `asking` until the daemon has answered; `token` where it wants one; `silent` where it does not answer. */
export const access = signal<"asking" | "open" | "token" | "silent">("asking");
/** What the daemon said of the token that was shown. */
export const refusal = signal("");
export const link = signal<{ state: Client["state"]; reason: string }>({ state: "idle", reason: "" });
export const client = signal<Client | null>(null);

let token = sessionStorage.getItem(KEY) ?? "";

/** Why the daemon does not do what it was asked for. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly body: any,
  ) {
    super(message);
  }
}

/** Asks the admin listener; its answer as JSON, or as text where it is none. */
export async function ask<T = any>(path: string, init: RequestInit = {}): Promise<T> {
  const headers = { ...(init.headers as object), ...(init.body ? { "content-type": "application/json" } : {}), ...(token ? { authorization: `Bearer ${token}` } : {}) };
  const answer = await fetch(path, { ...init, headers });
  const text = await answer.text();
  const body = answer.headers.get("content-type")?.includes("json") ? JSON.parse(text) : text;
  if (answer.ok) return body as T;
  const { code = "", message = "" } = body?.error ?? {};
  if (answer.status === 401) {
    // Of two tokens either may be the wrong one: a question without the user's tells.
    if (init.headers) await ask("/v1/log-levels").catch(() => {});
    else access.value = "token";
  }
  throw new Refused(answer.status, code, message || body?.text || `the daemon answered ${answer.status}`, body);
}

export const post = <T = any>(path: string, body?: object) => ask<T>(path, { method: "POST", ...(body ? { body: JSON.stringify(body) } : {}) });

/** Finds out whether a token is needed, and connects. */
export async function enter(shown = token): Promise<void> {
  token = shown;
  try {
    await ask("/v1/log-levels"); // the least that a token opens
  } catch (error) {
    const isRefused = error instanceof Refused;
    access.value = isRefused ? "token" : "silent";
    refusal.value = isRefused && token ? "This token is not the daemon's." : "";
    return;
  }
  if (token) sessionStorage.setItem(KEY, token);
  connect();
  access.value = "open";
}

/** Forgets the token, on this page and in this tab. */
export function leave(): void {
  sessionStorage.removeItem(KEY);
  client.value?.close();
  location.reload();
}

export const hasToken = () => token !== "";

/** What one user is shown: one that the operator names, which the daemon notes, or the one whose own token this is. */
export interface Eyes {
  name: string;
  token: string; // here only: in no storage and no address
}

/** Asks what these eyes may see. */
export const askAs = (eyes: Eyes, path: string) => ask(named(eyes, path), { headers: beside(eyes) });

/** A connection that hears what these eyes are shown, apart from that of the page. */
export function watching(eyes: Eyes): Client {
  const asks: typeof fetch = (url, init) => fetch(named(eyes, String(url)), { ...init, headers: { ...(init?.headers as object), ...beside(eyes) } });
  return new Client({ ...shown(), socket: sse({ fetch: asks }) });
}

const named = ({ name }: Eyes, url: string) => (name ? `${url}${url.includes("?") ? "&" : "?"}audience=${encodeURIComponent(name)}` : url);
const beside = ({ token }: Eyes): Record<string, string> => (token ? { "x-user-token": token } : {});

const shown = () => ({ url: "/v1/ws", ...(token ? { token } : {}) });

function connect(): void {
  client.value?.close();
  // It is said in the first message: addresses end up in histories and in the logs of proxies.
  const opened = new Client(shown());
  opened.watch(() => {
    link.value = { state: opened.state, reason: opened.reason };
    // A browser does not say why it was not let in: a plain question tells.
    if (opened.state === "waiting" || opened.state === "closed") ask("/v1/log-levels").catch(() => {});
  });
  opened.open();
  client.value = opened;
}
