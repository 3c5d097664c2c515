// How long calls into a plugin take, from the metrics that the daemon keeps of them.

import { count, milliseconds } from "../format";
import { useFetched } from "../store/fetched";
import { type Column, Table } from "../table";
import { Trouble } from "../ui";

interface Call {
  name: string;
  count: number;
  seconds: number;
  /** Upper bounds in seconds, each with how many calls took no longer. */
  bounds: [number, number][];
}

const SERIES = /^broadcastd_plugin_call_duration_seconds_(bucket|sum|count)\{broadcaster="([^"]*)",call="([^"]*)"(?:,le="([^"]*)")?\} (\S+)$/gm;
const SLOWEST_MS = 10_000; // the last bound; what is beyond it is at least that

const COLUMNS: Column<Call>[] = [
  { name: "Call", by: ({ name }) => name, cell: ({ name }) => <code>{name}</code> },
  { name: "Calls", by: (call) => call.count, cell: (call) => count(call.count), isNumber: true },
  { name: "Mean", by: (call) => mean(call), cell: (call) => milliseconds(mean(call)), isNumber: true },
  { name: "99 of 100 within", by: (call) => within(call, 0.99), cell: (call) => milliseconds(within(call, 0.99)), isNumber: true },
];

export function Calls({ broadcaster }: { broadcaster: string }) {
  const { value, error, again } = useFetched<string>("/metrics");
  const calls = value ? read(value, broadcaster) : [];
  return (
    <>
      <h3>
        Calls into the plugin{" "}
        <button type="button" onClick={again}>
          Refresh
        </button>
      </h3>
      <Trouble says={error} />
      {calls.length > 0 && <Table caption={`Calls into ${broadcaster}`} columns={COLUMNS} rows={calls} id={({ name }) => name} first={{ column: 1, down: true }} />}
    </>
  );
}

export function read(text: string, wanted: string): Call[] {
  const calls = new Map<string, Call>();
  for (const [, what, broadcaster, name, bound, value] of text.matchAll(SERIES)) {
    if (broadcaster !== wanted) continue;
    const call = calls.get(name!) ?? { name: name!, count: 0, seconds: 0, bounds: [] };
    calls.set(name!, call);
    if (what === "sum") call.seconds = Number(value);
    else if (what === "count") call.count = Number(value);
    else call.bounds.push([bound === "+Inf" ? Infinity : Number(bound), Number(value)]);
  }
  return [...calls.values()];
}

const mean = (call: Call) => (call.count ? (call.seconds / call.count) * 1000 : null);

function within(call: Call, part: number): number | null {
  const found = call.bounds.find(([, upto]) => upto > 0 && upto >= part * call.count);
  return found ? Math.min(found[0] * 1000, SLOWEST_MS) : null;
}
