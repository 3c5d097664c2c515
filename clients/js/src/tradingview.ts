// Bars for charts: the shapes that Lightweight Charts and TradingView's library want, and the latter's `subscribeBars`.

import type { Client, Message, Subscription } from "./index.js";

/** A bar as the stream `bars` has it; times are milliseconds since 1970. */
export interface Bar {
  time: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number;
  final?: boolean;
  revision?: number;
}

/** A bar of a day, week or month has a date, every other one a second. */
export type LightweightTime = number | string;
export interface LightweightBar {
  time: LightweightTime;
  open: number;
  high: number;
  low: number;
  close: number;
}

/** For `series.update` and `setData` of Lightweight Charts, whose times are seconds, or dates from a day on. */
export function toLightweight(bar: Bar & { resolution?: string }): LightweightBar {
  const { open, high, low, close } = bar;
  return { time: timeOf(bar), open, high, low, close };
}

/** For the volume, which is a series of its own there. */
export function toLightweightVolume(bar: Bar & { resolution?: string }): { time: LightweightTime; value: number } {
  return { time: timeOf(bar), value: bar.volume };
}

function timeOf({ time, resolution }: Bar & { resolution?: string }): LightweightTime {
  return /[DWM]$/.test(resolution ?? "") ? new Date(time).toISOString().slice(0, 10) : time / 1000;
}

export interface SymbolLike {
  name: string;
  ticker?: string | undefined;
}

/** The two members of a TradingView datafeed that are about what happens now. */
export interface LiveBars {
  subscribeBars(symbol: SymbolLike, resolution: string, onTick: (bar: Bar) => void, listenerGuid: string, onResetCacheNeeded: () => void): void;
  unsubscribeBars(listenerGuid: string): void;
}

/**
 * `{ ...history, ...liveBars(client) }` is a datafeed. The library takes the newest bar and new ones only, so an older bar that
 * changed, or a gap, has it fetch its history anew.
 */
export function liveBars(client: Client<any, any>, stream = "bars"): LiveBars {
  const subscriptions = new Map<string, Subscription<any>>();
  const unsubscribeBars = (guid: string) => {
    subscriptions.get(guid)?.close();
    subscriptions.delete(guid);
  };
  return {
    subscribeBars(symbol, resolution, onTick, guid, onResetCacheNeeded) {
      unsubscribeBars(guid);
      let newest = -Infinity;
      const show = ({ time, open, high, low, close, volume }: Bar) => {
        if (time < newest) return onResetCacheNeeded();
        newest = time;
        onTick({ time, open, high, low, close, volume });
      };
      const subscription: Subscription<Message> = client.subscribe(stream, { symbol: symbol.ticker ?? symbol.name, resolution });
      subscription
        .on("gap", () => onResetCacheNeeded())
        .on("full_update", ({ bars }: { bars: Bar[] }) => {
          for (const bar of [...bars].sort((a, b) => a.time - b.time)) if (bar.time >= newest) show(bar);
        })
        .on("bar", show);
      subscriptions.set(guid, subscription);
    },
    unsubscribeBars,
  };
}
