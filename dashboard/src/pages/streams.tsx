// All streams with their figures.

import { bytes, count, rate } from "../format";
import { to } from "../route";
import { figures } from "../store/daemon";
import { useFetched } from "../store/fetched";
import { type Column, Table } from "../table";
import { State, Trouble } from "../ui";

export interface Stream {
  name: string;
  position: { epoch: string; seq: number };
  source: string;
  reason: string | null;
  visible: boolean;
  private: boolean;
  view: string | null;
  address: string;
  /** The collection that the records of each kind are in. */
  kinds: Record<string, string | null>;
  topics: number;
  records: number;
  subscriptions: number;
  listeners: number;
  history: { events: number; bytes: number; max_events: number; max_bytes: number; max_age_s: number };
}

/** The figures of now, of streams that they are about. */
const now = (row: Stream) => figures.value?.streams[row.name];
const subscriptions = (row: Stream) => now(row)?.subscriptions ?? row.subscriptions;

const COLUMNS: Column<Stream>[] = [
  { name: "Name", by: ({ name }) => name, cell: ({ name }) => <a href={to("streams", name)}>{name}</a> },
  { name: "Source", by: ({ source }) => source, cell: ({ source }) => <State of={source} /> },
  { name: "Shown as", by: ({ view }) => view, cell: ({ view }) => (view ?? "log").replaceAll("_", " ") },
  { name: "For", by: (row) => reach(row), cell: (row) => reach(row) },
  { name: "Rate", by: (row) => now(row)?.published_per_s, cell: (row) => rate(now(row)?.published_per_s), isNumber: true },
  { name: "Subscriptions", by: subscriptions, cell: (row) => count(subscriptions(row)), isNumber: true },
  { name: "Topics", by: ({ topics }) => topics, cell: ({ topics }) => count(topics), isNumber: true },
  { name: "Records", by: ({ records }) => records, cell: ({ records }) => count(records), isNumber: true },
  { name: "History", by: ({ history }) => history.bytes, cell: ({ history }) => `${count(history.events)} · ${bytes(history.bytes)}`, isNumber: true },
];

const reach = ({ private: isPrivate, visible }: Stream) => (isPrivate ? "one user each" : visible ? "clients" : "listeners");

export function Streams() {
  const { value, error, again } = useFetched<{ streams: Stream[] }>("/v1/streams", "changes");
  return (
    <>
      <h1>
        Streams{" "}
        <button type="button" onClick={again}>
          Refresh
        </button>
      </h1>
      <Trouble says={error} />
      {value && <Table caption="All streams" columns={COLUMNS} rows={value.streams} id={({ name }) => name} />}
      <p class="muted">Rates and subscriptions are of now; the other figures are of when the page was opened.</p>
    </>
  );
}
