// Bars as candles, for streams that are declared so. Loaded only where there are some.

import { useSignal, useSignalEffect } from "@preact/signals";
import { type Bar, toLightweight, toLightweightVolume } from "broadcastd/tradingview";
import { CandlestickSeries, createChart, HistogramSeries, type IChartApi, type ISeriesApi } from "lightweight-charts";
import { useEffect, useRef } from "preact/hooks";
import { color } from "../chart";
import { count, digits, time } from "../format";
import type { Stream } from "../pages/streams";
import { useHeard } from "../store/stream";
import { Empty, Panel } from "../ui";
import { NOTICE } from "./notice";

type Told = Bar & { symbol: string; resolution: string };

interface Drawn {
  chart: IChartApi;
  candles: ISeriesApi<"Candlestick">;
  volume: ISeriesApi<"Histogram">;
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const id = ({ symbol, resolution }: Told) => `${symbol} · ${resolution}`;

export default function Candles({ stream }: { stream: Stream }) {
  const bars = useRef(new Map<string, Map<number, Told>>());
  const names = useSignal<string[]>([]);
  const chosen = useSignal("");
  const last = useSignal<Told | null>(null);
  const place = useRef<HTMLDivElement>(null);
  const drawn = useRef<Drawn | null>(null);
  const { name: source, kinds } = stream;
  const collections = [...new Set(Object.values(kinds))];

  const show = () => {
    const all = [...(bars.current.get(chosen.peek())?.values() ?? [])].sort((a, b) => a.time - b.time);
    drawn.current?.candles.setData(all.map(toLightweight) as any);
    drawn.current?.volume.setData(all.map(toLightweightVolume) as any);
    last.value = all.at(-1) ?? null;
  };
  const keep = (bar: Told) => {
    const known = bars.current.get(id(bar)) ?? new Map<number, Told>();
    bars.current.set(id(bar), known.set(bar.time, bar));
    if (names.peek().includes(id(bar))) return;
    names.value = [...names.peek(), id(bar)].sort();
    chosen.value ||= id(bar);
  };
  const update = (bar: Told) => {
    const newest = Math.max(0, ...(bars.current.get(id(bar))?.keys() ?? []));
    keep(bar);
    if (id(bar) !== chosen.peek()) return;
    drawn.current?.candles.update(toLightweight(bar) as any, bar.time < newest);
    drawn.current?.volume.update(toLightweightVolume(bar) as any, bar.time < newest);
    if (bar.time >= newest) last.value = bar;
  };

  useEffect(() => {
    const at = place.current;
    if (!at) return; // the page has been left before it was drawn
    const draw = () => {
      drawn.current?.chart.remove();
      drawn.current = paint(at);
      show();
    };
    draw();
    dark.addEventListener("change", draw);
    return () => {
      dark.removeEventListener("change", draw);
      drawn.current?.chart.remove();
      drawn.current = null;
    };
  }, []);
  useHeard(source, {
    past: ({ type, data }) => type in kinds && keep(data),
    snapshot: (data) => collections.flatMap((name) => data[name ?? "records"] ?? []).forEach(keep),
    event: ({ type, data }) => type in kinds && update(data),
    drawn: show,
  });
  useSignalEffect(() => {
    if (chosen.value) show();
  });

  const bar = last.value;
  const amount = bars.current.get(chosen.value)?.size ?? 0;
  return (
    <Panel
      title="Candles"
      side={
        <label class="controls">
          <span class="unseen">Symbol and resolution</span>
          <select value={chosen.value} onChange={(event) => (chosen.value = event.currentTarget.value)}>
            {names.value.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
      }
    >
      {names.value.length === 0 && <Empty>No bar yet; the first one appears here.</Empty>}
      <figure class="chart">
        <div ref={place} class="candles" aria-hidden="true" />
        <figcaption aria-live="off" data-close={bar?.close}>
          {bar && (
            <>
              {bar.symbol}, {count(amount)} {amount === 1 ? "bar" : "bars"}; that of {time(bar.time)}: open {digits(bar.open)}, high {digits(bar.high)}, low {digits(bar.low)},
              close {digits(bar.close)}, volume {count(bar.volume)}
              {bar.final ? ", closed" : ", open still"}.
            </>
          )}
        </figcaption>
      </figure>
      <p class="notice">
        {NOTICE.text}{" "}
        <a href={NOTICE.address} rel="noreferrer">
          {NOTICE.address}
        </a>
      </p>
    </Panel>
  );
}

function paint(place: HTMLElement): Drawn {
  const [up, down, line] = [color("good"), color("bad"), color("line")];
  const chart = createChart(place, {
    autoSize: true,
    layout: { background: { color: "transparent" }, textColor: color("muted"), fontFamily: "system-ui", attributionLogo: false },
    grid: { vertLines: { color: line }, horzLines: { color: line } },
    rightPriceScale: { borderColor: line },
    timeScale: { borderColor: line, timeVisible: true, rightOffset: 4, barSpacing: 14 },
  });
  // Rising candles are hollow, so that they are told apart without their colour.
  const candles = chart.addSeries(CandlestickSeries, { upColor: color("paper"), borderUpColor: up, wickUpColor: up, downColor: down, borderDownColor: down, wickDownColor: down, priceLineColor: color("accent") });
  const volume = chart.addSeries(HistogramSeries, { color: color("faint"), priceScaleId: "", priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false });
  volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
  candles.priceScale().applyOptions({ scaleMargins: { top: 0.08, bottom: 0.24 } });
  return { chart, candles, volume };
}
