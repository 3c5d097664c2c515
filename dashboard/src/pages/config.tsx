// The settings in force with who gave each, and what a file would change.

import { useSignal } from "@preact/signals";
import { count } from "../format";
import { useFetched } from "../store/fetched";
import { type Column, Table } from "../table";
import { Empty, Trouble } from "../ui";
import { Check } from "./check";

interface Setting {
  key: string;
  value: unknown;
  origin: "default" | "file" | "environment" | "set";
  line?: number | null;
  variable?: string;
}

const origin = ({ origin, line, variable }: Setting) => (origin === "file" ? `file${line ? `, line ${line}` : ""}` : origin === "environment" ? variable! : origin === "set" ? "--set" : "default");

const COLUMNS: Column<Setting>[] = [
  { name: "Setting", by: ({ key }) => key, cell: ({ key }) => <code>{key}</code> },
  { name: "Value", by: ({ value }) => JSON.stringify(value), cell: ({ value }) => <code class="value">{JSON.stringify(value)}</code> },
  { name: "Given by", by: origin, cell: (row) => <span class={row.origin === "default" ? "muted" : ""}>{origin(row)}</span> },
];

export function Config() {
  const { value, error } = useFetched<Setting[]>("/v1/config", "changes");
  const words = useSignal("");
  const given = useSignal(false);
  const rows = value?.filter((row) => (!given.value || row.origin !== "default") && `${row.key} ${JSON.stringify(row.value)} ${origin(row)}`.toLowerCase().includes(words.value.toLowerCase()));
  return (
    <>
      <h1>Configuration</h1>
      <Check />
      <h2>In force</h2>
      <p class="controls">
        <label>
          <span class="unseen">Only settings with this text</span>
          <input type="search" placeholder="Filter" value={words.value} onInput={(event) => (words.value = event.currentTarget.value)} />
        </label>
        <label>
          <input type="checkbox" checked={given.value} onChange={(event) => (given.value = event.currentTarget.checked)} /> without defaults
        </label>
        <span class="muted">{rows && `${count(rows.length)} of ${count(value!.length)}`}</span>
      </p>
      <Trouble says={error} />
      {rows?.length === 0 && <Empty>No setting is like that.</Empty>}
      {rows && rows.length > 0 && <Table caption="Settings in force" columns={COLUMNS} rows={rows} id={({ key }) => key} />}
    </>
  );
}
