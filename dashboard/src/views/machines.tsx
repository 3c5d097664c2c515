// State machines: who is in which state since when, and the ways between the states.

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { count, several, time } from "../format";
import type { Stream } from "../pages/streams";
import { useFetched } from "../store/fetched";
import { useHeard } from "../store/stream";
import { type Column, Table } from "../table";
import { Empty, Panel, State } from "../ui";
import { Graph, type Way } from "./graph";

interface Instance {
  session_id: string;
  machine: string;
  instance_id: string;
  strategy_id: string;
  symbol: string;
  state: string;
  previous_state: string | null;
  since: string;
  version: number;
  stale?: boolean;
}
interface Declared {
  id: string;
  initial: string;
  final?: string[];
  states: { id: string; max_time?: string; on_timeout?: string }[];
  transitions?: { from: string; to: string; event?: string }[];
}
interface Refusal {
  at: string;
  says: string;
}

const REFUSALS = 5; // the last ones; the tail below has more

const COLUMNS: Column<Instance>[] = [
  { name: "Strategy", by: (row) => row.strategy_id, cell: (row) => row.strategy_id },
  { name: "Symbol", by: (row) => row.symbol, cell: (row) => row.symbol },
  { name: "Session", by: (row) => row.session_id, cell: (row) => row.session_id },
  { name: "State", by: (row) => row.state, cell: (row) => <b>{row.state}</b> },
  { name: "Before", by: (row) => row.previous_state, cell: (row) => <span class="muted">{row.previous_state ?? "–"}</span> },
  { name: "Since", by: (row) => row.since, cell: (row) => <time>{time(row.since)}</time> },
  { name: "Version", by: (row) => row.version, cell: (row) => count(row.version), isNumber: true },
  { name: "Heard of", by: (row) => (row.stale ? 0 : 1), cell: (row) => (row.stale ? <State of="degraded" says="stale" /> : <span class="muted">yes</span>) },
];

const id = (row: Instance) => `${row.session_id}/${row.instance_id}`;

export function Machines({ stream }: { stream: Stream }) {
  const instances = useSignal<ReadonlyMap<string, Instance>>(new Map());
  const refusals = useSignal<Refusal[]>([]);
  const ways = useRef(new Map<string, Way & { machine: string }>());
  const chosen = useSignal("");
  const { value: status } = useFetched<{ settings: { initial?: string; machines?: Declared[] } }>(`/v1/broadcasters/${encodeURIComponent(stream.name)}`, "changes");

  const went = (machine: string, from: string, to: string, event?: string) => {
    const key = JSON.stringify([machine, from, to]);
    ways.current.set(key, { machine, from, to, ...(event ? { event } : {}), taken: (ways.current.get(key)?.taken ?? 0) + 1 });
  };
  const version = useSignal(0);
  version.value; // the ways are drawn anew with it
  useHeard(stream.name, {
    drawn: () => void version.value++,
    past: ({ type, data }) => type === "state_change" && went(data.machine, data.previous_state, data.state, data.event),
    snapshot: (data) => (instances.value = new Map((data.instances ?? []).map((each: Instance) => [id(each), each]))),
    event: ({ type, data, session_id, timestamp }) => {
      const told = { ...data, session_id } as Instance;
      const known = new Map(instances.peek());
      if (type === "instance_removed") known.delete(id(told));
      else if (type === "instance_added") known.set(id(told), { ...told, previous_state: null });
      else if (type === "state_change") {
        went(data.machine, data.previous_state, data.state, data.event);
        known.set(id(told), { ...known.get(id(told)), ...told, stale: false });
      } else if (type === "instance_stale" || type === "instance_recovered") {
        known.set(id(told), { ...known.get(id(told)), ...told, stale: type === "instance_stale" });
      } else if (type === "illegal_transition") {
        const says = `${data.strategy_id} ${data.symbol}: ${data.from ?? "?"} → ${data.to ?? data.event}, ${String(data.reason).replaceAll("_", " ")}`;
        refusals.value = [{ at: timestamp, says }, ...refusals.peek()].slice(0, REFUSALS);
      }
      instances.value = known;
    },
  });

  const rows = [...instances.value.values()];
  const declared = status?.settings.machines ?? [];
  const names = [...new Set([...declared.map((each) => each.id), ...rows.map((row) => row.machine)])];
  const machine = names.includes(chosen.value) ? chosen.value : names[0];
  const stale = rows.filter((row) => row.stale).length;
  return (
    <Panel title="State machines" side={<span class="muted">{`${several(rows.length, "instance")}${stale ? `, ${count(stale)} stale` : ""}`}</span>}>
      {names.length > 1 && (
        <label class="controls">
          Machine
          <select value={machine} onChange={(event) => (chosen.value = event.currentTarget.value)}>
            {names.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
      )}
      {machine && (
        <Graph
          machine={machine}
          initial={declared.find((each) => each.id === machine)?.initial ?? status?.settings.initial ?? ""}
          ways={drawn(machine, declared, [...ways.current.values()])}
          states={[...(declared.find((each) => each.id === machine)?.states.map((each) => each.id) ?? [])]}
          inside={rows.filter((row) => row.machine === machine).map((row) => row.state)}
        />
      )}
      {rows.length === 0 ? <Empty>No instance now; a session that starts brings some.</Empty> : <Table caption="Instances" columns={COLUMNS} rows={rows} id={id} />}
      {refusals.value.length > 0 && (
        <>
          <h3>Transitions that were not allowed</h3>
          <ul class="reasons">
            {refusals.value.map(({ at, says }, index) => (
              <li key={index}>
                <time>{time(at)}</time> {says}
              </li>
            ))}
          </ul>
        </>
      )}
    </Panel>
  );
}

/** The declared ways with how often each was taken, and those that were taken all the same. */
function drawn(machine: string, declared: Declared[], taken: (Way & { machine: string })[]): Way[] {
  const found = declared.find((each) => each.id === machine);
  const ways = new Map<string, Way>();
  const timeouts = found?.states.flatMap((each) => (each.on_timeout ? [{ from: each.id, to: each.on_timeout, event: "timeout" }] : [])) ?? [];
  for (const { from, to, event } of [...(found?.transitions ?? []), ...timeouts]) {
    if (from !== "*") ways.set(`${from} ${to}`, { from, to, taken: 0, ...(event ? { event } : {}) });
  }
  for (const way of taken.filter((each) => each.machine === machine)) {
    const key = `${way.from} ${way.to}`;
    ways.set(key, { ...way, ...ways.get(key), taken: way.taken });
  }
  return [...ways.values()];
}
