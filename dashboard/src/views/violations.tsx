// What the rules hold against samples, and the word of who looked into it.

import { useSignal } from "@preact/signals";
import { digits, time } from "../format";
import { client } from "../store/session";
import { type Column, Table } from "../table";
import { Empty, Note, State, Trouble } from "../ui";

export interface Violation {
  violation_id: number;
  sample_id: string | number;
  characteristic_id: string | number;
  rule_id: number;
  rule_name: string;
  severity: string;
  timestamp: string;
  value: number;
  isOpen: boolean;
  user?: string;
  reason?: string;
}

const REASONS = [
  "Under Investigation",
  "Tool Change",
  "Raw Material Change",
  "Setup Adjustment",
  "Measurement Error",
  "Process Adjustment",
  "Environmental Factor",
  "Operator Error",
  "Equipment Malfunction",
  "False Alarm",
  "Other",
];

export function Violations({ stream, violations }: { stream: string; violations: Violation[] }) {
  const refused = useSignal("");
  const done = useSignal("");
  const reason = useSignal(REASONS[0]!);
  const acknowledge = async ({ violation_id, sample_id }: Violation) => {
    [refused.value, done.value] = ["", ""];
    try {
      await client.value!.command(stream, "acknowledge", { violation_id, reason: reason.value });
      done.value = `The violation of sample ${sample_id} is acknowledged.`;
    } catch (error) {
      refused.value = (error as Error).message;
    }
  };
  const columns: Column<Violation>[] = [
    { name: "Sample", by: ({ sample_id }) => sample_id, cell: ({ sample_id }) => sample_id },
    { name: "At", by: ({ timestamp }) => timestamp, cell: ({ timestamp }) => <time>{time(timestamp)}</time> },
    { name: "Value", by: ({ value }) => value, cell: ({ value }) => digits(value), isNumber: true },
    { name: "Rule", by: ({ rule_id }) => rule_id, cell: ({ rule_id, rule_name }) => `${rule_id} ${rule_name}` },
    { name: "Severity", by: ({ severity }) => severity, cell: ({ severity }) => <State of={severity === "CRITICAL" ? "refused" : "degraded"} says={severity.toLowerCase()} /> },
    {
      name: "Word",
      by: ({ isOpen }) => (isOpen ? 0 : 1),
      cell: (each) =>
        each.isOpen ? (
          <button type="button" onClick={() => void acknowledge(each)} aria-label={`Acknowledge ${each.rule_name} of sample ${each.sample_id}`}>
            Acknowledge
          </button>
        ) : (
          <span class="muted">{each.reason ? `${each.reason}, ${each.user}` : "no longer open"}</span>
        ),
    },
  ];
  return (
    <>
      <h3 class="between">
        Violations
        <label class="controls">
          <span>Acknowledge as</span>
          <select value={reason.value} onChange={(event) => (reason.value = event.currentTarget.value)}>
            {REASONS.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
      </h3>
      <Trouble says={refused.value} />
      <Note says={done.value} />
      {violations.length === 0 ? (
        <Empty>None.</Empty>
      ) : (
        <Table caption="Violations" columns={columns} rows={violations} id={({ violation_id }) => String(violation_id)} first={{ column: 1, down: true }} />
      )}
    </>
  );
}
