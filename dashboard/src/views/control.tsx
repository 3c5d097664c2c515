// A control chart: samples between their limits and zones, what the rules hold against them, and the word of who looked into it.

import { useSignal } from "@preact/signals";
import { useMemo, useRef } from "preact/hooks";
import type uPlot from "uplot";
import { Chart, color, type Curve } from "../chart";
import { count, digits } from "../format";
import type { Stream } from "../pages/streams";
import { useHeard } from "../store/stream";
import { Empty, Panel, State } from "../ui";
import { type Violation, Violations } from "./violations";

export interface Sample {
  sample_id: string | number;
  characteristic_id: string | number;
  timestamp: string;
  value: number;
  zone: string | null;
  in_control: boolean;
  center_line: number | null;
  ucl: number | null;
  lcl: number | null;
}
interface Limits {
  characteristic_id: string | number;
  chart: string;
  center_line: number;
  ucl: number;
  lcl: number;
  method: string;
  sample_count: number;
}
/** What is known of one characteristic. */
interface Known {
  samples: Map<string, Sample>;
  limits: Limits | null;
  violations: Map<number, Violation>;
}

const SHOWN = 100; // as many points as can be told apart

const CURVES: Curve[] = [
  { name: "value", color: "accent", width: 1.5, points: { show: true, size: 6 } },
  { name: "upper limit", color: "bad", dash: [6, 4], says: digits },
  { name: "centre", color: "good", says: digits },
  { name: "lower limit", color: "bad", dash: [6, 4], says: digits },
];

export function Control({ stream }: { stream: Stream }) {
  const all = useRef(new Map<string, Known>());
  const version = useSignal(0);
  const chosen = useSignal("");
  const known = (id: string | number) => {
    const found = all.current.get(String(id)) ?? { samples: new Map(), limits: null, violations: new Map() };
    chosen.value ||= String(id);
    all.current.set(String(id), found);
    return found;
  };
  const sampled = (sample: Sample) => {
    const { samples } = known(sample.characteristic_id);
    samples.set(String(sample.sample_id), sample);
    if (samples.size > 2 * SHOWN) samples.delete(samples.keys().next().value!);
  };
  useHeard(stream.name, {
    past: ({ type, data }) => {
      if (type === "sample") sampled(data);
      if (type !== "violation") return;
      const { violations } = known(data.characteristic_id);
      if (!violations.has(data.violation_id)) violations.set(data.violation_id, { ...data, isOpen: false });
    },
    snapshot: ({ limits = [], samples = [], violations = [] }) => {
      samples.forEach(sampled);
      for (const each of limits) known(each.characteristic_id).limits = each;
      for (const { violations } of all.current.values()) violations.forEach((each) => (each.isOpen = false));
      for (const each of violations) known(each.characteristic_id).violations.set(each.violation_id, { ...each, isOpen: true });
    },
    event: ({ type, data }) => {
      if (type === "sample") sampled(data);
      if (type === "control_limits") known(data.characteristic_id).limits = data;
      if (type === "violation") known(data.characteristic_id).violations.set(data.violation_id, { ...data, isOpen: true });
      if (type === "ack_update") {
        const { violations } = known(data.characteristic_id);
        const before = violations.get(data.violation_id);
        if (before) violations.set(data.violation_id, { ...before, isOpen: false, user: data.user, reason: data.reason });
      }
      version.value++;
    },
    drawn: () => void version.value++,
  });

  const ids = [...all.current.keys()].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const shown = all.current.get(chosen.value);
  const open = (id: string) => [...(all.current.get(id)?.violations.values() ?? [])].filter(({ isOpen }) => isOpen).length;
  return (
    <Panel
      title="Control chart"
      side={
        <span class="controls">
          <label>
            <span class="unseen">Characteristic</span>
            <select value={chosen.value} onChange={(event) => (chosen.value = event.currentTarget.value)}>
              {ids.map((id) => (
                <option key={id} value={id}>
                  characteristic {id}
                  {open(id) ? ` – ${open(id)} open` : ""}
                </option>
              ))}
            </select>
          </label>
          {shown && <State of={open(chosen.value) ? "refused" : "ready"} says={open(chosen.value) ? `${open(chosen.value)} open` : "in control"} />}
        </span>
      }
    >
      {shown ? <Picture known={shown} version={version.value} /> : <Empty>No sample yet. The first ones of a characteristic become its baseline.</Empty>}
      {shown && <Violations stream={stream.name} violations={[...shown.violations.values()]} />}
    </Panel>
  );
}

function Picture({ known, version }: { known: Known; version: number }) {
  const samples = useMemo(() => [...known.samples.values()].sort(before).slice(-SHOWN), [known, version]);
  const data = useMemo(
    () => [samples.map((_, index) => index), samples.map(({ value }) => value), ...(["ucl", "center_line", "lcl"] as const).map((name) => samples.map((each) => each[name]))],
    [samples],
  );
  const now = useRef({ samples, violations: known.violations });
  now.current = { samples, violations: known.violations };
  const hooks = useMemo<uPlot.Hooks.Arrays>(
    () => ({ drawClear: [(plot) => zones(plot, now.current.samples)], draw: [(plot) => marks(plot, now.current.samples, now.current.violations)] }),
    [],
  );
  const last = samples.at(-1);
  const { limits, violations } = known;
  const open = [...violations.values()].filter(({ isOpen }) => isOpen).length;
  const says = !last
    ? "No sample yet."
    : `${count(samples.length)} samples; the last one, ${last.sample_id}, is ${digits(last.value)}${last.zone ? ` (${last.zone.replaceAll("_", " ")})` : ""}. ` +
      (limits
        ? `Chart ${limits.chart}: centre ${digits(limits.center_line)}, limits ${digits(limits.lcl)} and ${digits(limits.ucl)}${limits.sample_count ? ` from ${count(limits.sample_count)} samples` : ""}. ${open || "No"} open ${open === 1 ? "violation" : "violations"}.`
        : "No limits yet: these samples become the baseline.");
  return (
    <Chart
      says={says}
      data={data}
      curves={CURVES}
      height={300}
      margin={22}
      axis={digits}
      across={(index) => String(now.current.samples[index]?.sample_id ?? "")}
      hooks={hooks}
      range={(_, low, high) => {
        const room = (high - low || Math.abs(high) || 1) * 0.12;
        return [low - room, high + room];
      }}
    />
  );
}

const before = (a: Sample, b: Sample) => a.timestamp.localeCompare(b.timestamp) || Number(a.sample_id) - Number(b.sample_id);

/** Zones A, B and C as bands of the last limits, the darker the farther from the centre. */
function zones(plot: uPlot, samples: Sample[]): void {
  const { center_line: center, ucl, lcl } = samples.at(-1) ?? {};
  if (center == null || ucl == null || lcl == null) return;
  const { ctx, bbox } = plot;
  const y = (value: number) => Math.min(Math.max(plot.valToPos(value, "y", true), bbox.top), bbox.top + bbox.height);
  ctx.save();
  ctx.font = `${11 * devicePixelRatio}px system-ui`;
  ctx.textAlign = "left"; // axes are drawn before, and leave theirs
  for (const limit of [ucl, lcl]) {
    for (const [index, zone] of ["C", "B", "A"].entries()) {
      const [from, upto] = [index, index + 1].map((part) => y(center + ((limit - center) * part) / 3)) as [number, number];
      ctx.globalAlpha = 0.05 + index * 0.05;
      ctx.fillStyle = color("warn");
      ctx.fillRect(bbox.left, Math.min(from, upto), bbox.width, Math.abs(upto - from));
      ctx.globalAlpha = 1;
      ctx.fillStyle = color("muted");
      if (Math.abs(upto - from) > 14 * devicePixelRatio) ctx.fillText(zone, bbox.left + bbox.width + 8 * devicePixelRatio, (from + upto) / 2 + 4 * devicePixelRatio);
    }
  }
  ctx.restore();
}

/** A triangle over each sample that a rule holds something against, filled while that is open. */
function marks(plot: uPlot, samples: Sample[], violations: Map<number, Violation>): void {
  const { ctx } = plot;
  const held = new Map([...violations.values()].map((each) => [String(each.sample_id), false]));
  for (const each of violations.values()) if (each.isOpen) held.set(String(each.sample_id), true);
  ctx.save();
  [ctx.strokeStyle, ctx.fillStyle, ctx.lineWidth] = [color("bad"), color("bad"), 1.5 * devicePixelRatio];
  for (const [index, { sample_id, value }] of samples.entries()) {
    const isOpen = held.get(String(sample_id));
    if (isOpen === undefined) continue;
    const [x, y, size] = [plot.valToPos(index, "x", true), plot.valToPos(value, "y", true) - 9 * devicePixelRatio, 5 * devicePixelRatio];
    ctx.beginPath();
    ctx.moveTo(x, y);
    ctx.lineTo(x - size, y - 1.7 * size);
    ctx.lineTo(x + size, y - 1.7 * size);
    ctx.closePath();
    if (isOpen) ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}
