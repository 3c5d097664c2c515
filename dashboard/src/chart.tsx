// Curves: uPlot in the colours of the page, with a sentence for those who do not see them.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { time } from "./format";

export interface Curve {
  name: string;
  /** The name of a colour of the style sheet. */
  color: string;
  /** Dashes tell curves apart without their colours. */
  dash?: number[];
  width?: number;
  points?: uPlot.Series.Points;
  says?: (value: number | null) => string;
}

interface Props {
  says: string;
  /** The first row is the horizontal one. */
  data: (number | null)[][];
  curves: Curve[];
  height?: number;
  /** Pixels on the right of the curves, for what hooks write there. */
  margin?: number;
  axis?: (value: number) => string;
  /** What the horizontal axis counts; seconds since 1970 unless it is given. */
  across?: (value: number) => string;
  hooks?: uPlot.Hooks.Arrays;
  range?: uPlot.Range.Function;
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const clock = (seconds: number) => time(seconds * 1000);
export const color = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export function Chart(props: Props) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const shown = useRef(props);
  shown.current = props;
  const names = props.curves.map((curve) => curve.name).join();
  useEffect(() => {
    const at = place.current;
    if (!at) return; // the page has been left before it was drawn
    const draw = () => {
      plot.current?.destroy();
      plot.current = new uPlot(options(shown, at.clientWidth), shown.current.data as uPlot.AlignedData, at);
      tellLast(plot.current);
    };
    const fit = new ResizeObserver(() => plot.current?.setSize({ width: at.clientWidth, height: shown.current.height ?? 180 }));
    draw();
    fit.observe(at);
    dark.addEventListener("change", draw);
    return () => {
      fit.disconnect();
      dark.removeEventListener("change", draw);
      plot.current?.destroy();
      plot.current = null;
    };
  }, [names]);
  useEffect(() => {
    plot.current?.setData(props.data as uPlot.AlignedData);
    if (plot.current) tellLast(plot.current);
  }, [props.data]);
  return (
    <figure class="chart">
      <div ref={place} aria-hidden="true" />
      <figcaption>{props.says}</figcaption>
    </figure>
  );
}

/** While nobody points at the curves, the legend has the newest figures. */
function tellLast(plot: uPlot): void {
  const last = plot.data[0].length - 1;
  if (plot.cursor.idx == null && last >= 0) plot.setLegend({ idx: last });
}

function options(shown: { current: Props }, width: number): uPlot.Options {
  const { curves, height = 180, margin = 8, axis = String, across, hooks = {}, range } = shown.current;
  const line = { stroke: color("muted"), font: "11px system-ui", grid: { stroke: color("line"), width: 1 }, ticks: { show: false } };
  return {
    width,
    height,
    hooks,
    padding: [8, margin, 0, 0],
    cursor: { y: false, points: { size: 6 } },
    legend: { live: true, markers: { width: 2, dash: (_, index) => (curves[index - 1]?.dash ? "dashed" : "solid") as any } },
    scales: { x: { time: !across }, y: range ? { range } : { range: (_u, _min, max) => [0, max > 0 ? max * 1.15 : 1] } },
    axes: [
      { ...line, size: 26, space: 84, values: (_, splits) => splits.map(across ?? clock) },
      { ...line, size: 58, values: (_, splits) => splits.map(axis) },
    ],
    series: [
      across ? { label: "Sample", value: (_, value) => (value === null ? "–" : across(value)) } : { label: "Time", value: (_, value) => (value === null ? "–" : clock(value)) },
      ...curves.map((curve) => ({
        label: curve.name,
        stroke: color(curve.color),
        width: curve.width ?? 1.5,
        dash: curve.dash ?? [],
        points: curve.points ?? { show: false },
        value: (_: uPlot, value: number | null) => (curve.says ?? ((said) => (said === null ? "–" : axis(said))))(value ?? null),
      })),
    ] as uPlot.Series[],
  };
}
