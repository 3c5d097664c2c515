// What the daemon tells of itself, as it happens: broadcasters, reloads, figures once a second.

import { effect, signal } from "@preact/signals";
import { access, client } from "./session";
import { history } from "./stream";

export interface Figures {
  connections: number;
  subscriptions: number;
  published_per_s: number;
  delivered_per_s: number;
  lagged: number;
  memory_bytes: number;
  publish_to_write_ms: { p50: number | null; p99: number | null };
  streams: Record<string, { published_per_s: number; subscriptions: number }>;
  /** Of those that were called in the last second. */
  broadcasters: Record<string, Calls>;
}
/** Calls into a plugin. */
export interface Calls {
  calls_per_s: number;
  call_ms: { p50: number | null; p99: number | null };
}
export interface BroadcasterState {
  name: string;
  state: string;
  restarts: number;
  errors: number;
  last_error: string | null;
  degraded: string | null;
}
export interface Reload {
  outcome: "applied" | "refused";
  changes?: { change: string; broadcaster: string }[];
  waiting?: string[];
  text?: string;
  mistakes?: number;
  messages?: string[];
}

const KEPT_S = 300; // as far back as the daemon's own history reaches

export const broadcasters = signal<Map<string, BroadcasterState>>(new Map());
export const figures = signal<Figures | null>(null);
/** Of each broadcaster how its calls were in the last second that it was called in. */
export const calls = signal<ReadonlyMap<string, Calls>>(new Map());
/** Seconds since 1970 with the figures of then, the oldest first. */
export const past = signal<{ at: number; figures: Figures }[]>([]);
export const reload = signal<{ what: Reload; at: Date | null } | null>(null);
export const draining = signal(false);
/** Counts what makes fetched pages old: broadcasters and reloads. */
export const changes = signal(0);

effect(() => {
  const current = client.value;
  if (!current) return;
  const daemon = current.subscribe("daemon");
  daemon
    .on("full_update", (data) => {
      broadcasters.value = new Map(data.broadcasters.map((each: BroadcasterState) => [each.name, each]));
      reload.value = data.reloads[0] ? { what: data.reloads[0], at: null } : null;
      if (data.figures[0]) now(data.figures[0]);
      draining.value = false;
      changes.value++;
    })
    .on("broadcaster", (data) => {
      const all = new Map(broadcasters.peek());
      if (data.state === "removed") all.delete(data.name);
      else all.set(data.name, data);
      broadcasters.value = all;
      changes.value++;
    })
    .on("reload", (data, { timestamp }) => {
      reload.value = { what: data, at: new Date(timestamp) };
      changes.value++;
    })
    .on("figures", (data, { timestamp }) => {
      now(data);
      remember([{ at: Date.parse(timestamp) / 1000, figures: data }]);
    })
    .on("draining", () => (draining.value = true));
  return () => daemon.close();
});

/** What there was before this page was opened, once. */
effect(() => {
  if (access.value !== "open") return;
  void (async () => {
    const events = await history("daemon", "&topic=daemon:figures");
    remember(events.map((event) => ({ at: Date.parse(event.timestamp) / 1000, figures: event.data })));
  })().catch(() => {}); // without it the curves begin now
});

function now(told: Figures): void {
  figures.value = told;
  calls.value = new Map([...calls.peek(), ...Object.entries(told.broadcasters)]);
}

function remember(seen: { at: number; figures: Figures }[]): void {
  const all = new Map([...past.peek(), ...seen].map((each) => [each.at, each]));
  const sorted = [...all.values()].sort((a, b) => a.at - b.at);
  const newest = sorted.at(-1)?.at ?? 0;
  past.value = sorted.filter(({ at }) => at > newest - KEPT_S);
}
