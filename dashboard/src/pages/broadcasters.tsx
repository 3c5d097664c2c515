// How every broadcaster is, and what can be done to one.

import { useSignal } from "@preact/signals";
import { count, duration, milliseconds, rate, time } from "../format";
import { to } from "../route";
import { broadcasters, calls } from "../store/daemon";
import { useFetched } from "../store/fetched";
import { post } from "../store/session";
import { type Column, Table } from "../table";
import { Confirm, Empty, Note, Panel, type Question, State, Trouble } from "../ui";
import { Calls } from "./calls";

export interface Status {
  name: string;
  plugin: string;
  version: string;
  sha256: string;
  state: string;
  restarts: number;
  errors: number;
  last_error: string | null;
  degraded: string | null;
  rolled_back: string | null;
  /** How often it failed and what follows, while it does not run for that. */
  next: string | null;
  /** Until when the file before comes back if this one fails. */
  probation_until: string | null;
  uptime_seconds: number;
  broadcasts_sent: number;
  broadcasts_skipped: number;
  refused: number;
  settings: unknown;
}

type Deed = "restart" | "disable" | "enable" | "swap" | "rollback";
const DEEDS: Record<Deed, [name: string, says: string]> = {
  restart: ["Restart", "A new instance takes over the state. Subscribers stay."],
  disable: ["Disable", "It stops until it is enabled or the daemon starts anew. Its stream and subscriptions stay and are told."],
  enable: ["Enable", "It starts again and goes on from what it saved."],
  swap: ["Swap", "Its plugin's file is taken as it is now; one that fails within ten seconds is rolled back."],
  rollback: ["Roll back", "It goes back to the file before, with its present state."],
};

const COLUMNS: Column<Status>[] = [
  { name: "Name", by: ({ name }) => name, cell: ({ name }) => <a href={to("broadcasters", name)}>{name}</a> },
  { name: "State", by: (row) => now(row).state, cell: (row) => <State of={now(row).degraded ? "degraded" : now(row).state} /> },
  { name: "Plugin", by: ({ plugin }) => plugin, cell: ({ plugin, version }) => `${plugin} ${version}` },
  { name: "sha256", cell: ({ sha256 }) => <code title={sha256}>{sha256.slice(0, 8) || "–"}</code> },
  { name: "Up", by: ({ uptime_seconds }) => uptime_seconds, cell: ({ uptime_seconds }) => duration(uptime_seconds), isNumber: true },
  { name: "Calls", by: (row) => called(row)?.calls_per_s, cell: (row) => rate(called(row)?.calls_per_s), isNumber: true },
  { name: "p50", by: (row) => called(row)?.call_ms.p50, cell: (row) => milliseconds(called(row)?.call_ms.p50), isNumber: true },
  { name: "p99", by: (row) => called(row)?.call_ms.p99, cell: (row) => milliseconds(called(row)?.call_ms.p99), isNumber: true },
  { name: "Restarts", by: (row) => now(row).restarts, cell: (row) => count(now(row).restarts), isNumber: true },
  { name: "Errors", by: (row) => now(row).errors, cell: (row) => count(now(row).errors), isNumber: true },
  { name: "Last error", by: (row) => now(row).last_error, cell: (row) => <span class="long">{now(row).last_error ?? "–"}</span> },
];

/** What the stream has told since the page was fetched wins. */
const now = (row: Status) => ({ ...row, ...broadcasters.value.get(row.name) });

const called = ({ name }: Status) => calls.value.get(name);

export function Broadcasters({ chosen }: { chosen?: string | undefined }) {
  const { value, error, again } = useFetched<Status[]>("/v1/broadcasters", "changes");
  const one = value?.find(({ name }) => name === chosen);
  return (
    <>
      <h1>Broadcasters</h1>
      <Trouble says={error} />
      {value?.length === 0 && <Empty>None are configured.</Empty>}
      {value && value.length > 0 && (
        <p class="muted">Calls into plugins with the times that half and 99 of 100 stayed within, of the last second that one was called in.</p>
      )}
      {value && value.length > 0 && <Table caption="All broadcasters" columns={COLUMNS} rows={value} id={({ name }) => name} />}
      {one && <One key={one.name} status={now(one)} again={again} />}
      {value && chosen && !one && <Trouble says={`No broadcaster is called “${chosen}”.`} />}
      {value && !chosen && <p class="muted">Choose one to see its calls and settings, and to restart, disable, swap or roll it back.</p>}
    </>
  );
}

function One({ status, again }: { status: Status; again: () => void }) {
  const question = useSignal<Question | null>(null);
  const done = useSignal("");
  const refused = useSignal("");
  const isStopped = status.state === "stopped";
  const deeds: Deed[] = isStopped ? ["enable"] : ["restart", "disable", "swap", "rollback"];
  const act = async (deed: Deed) => {
    [done.value, refused.value] = ["", ""];
    try {
      done.value = (await post<{ text: string }>(`/v1/broadcasters/${encodeURIComponent(status.name)}/${deed}`)).text;
    } catch (error) {
      refused.value = (error as Error).message;
    }
    again();
  };
  const confirm = (deed: Deed) => {
    const [name, says] = DEEDS[deed];
    question.value = { title: `${name} ${status.name}?`, says, does: name, act: () => void act(deed) };
  };
  return (
    <Panel title={status.name} side={<State of={status.degraded ? "degraded" : status.state} />}>
      <p class="buttons">
        {deeds.map((deed) => (
          <button key={deed} type="button" onClick={() => confirm(deed)}>
            {DEEDS[deed][0]}…
          </button>
        ))}
        <a class="button" href={to("streams", status.name)}>
          Its stream
        </a>
      </p>
      <Trouble says={refused.value} />
      <Note says={done.value} />
      {status.degraded && <p>Its plugin says: {status.degraded}</p>}
      {status.rolled_back && <p>It was {status.rolled_back}</p>}
      {status.next && <p>Next: {status.next}</p>}
      {status.probation_until && <p>On probation until {time(status.probation_until)}: if it fails, the file before comes back.</p>}
      {status.last_error && <p>Last error: {status.last_error}</p>}
      <dl class="facts">
        <dt>Plugin</dt>
        <dd>
          {status.plugin} {status.version}
        </dd>
        <dt>sha256</dt>
        <dd>
          <code>{status.sha256 || "–"}</code>
        </dd>
        <dt>Events</dt>
        <dd>
          {count(status.broadcasts_sent)} sent, {count(status.broadcasts_skipped)} skipped because nobody listened, {count(status.refused)} refused
        </dd>
      </dl>
      <Calls broadcaster={status.name} />
      <details>
        <summary>Settings</summary>
        <pre tabIndex={0}>{JSON.stringify(status.settings, null, 2)}</pre>
      </details>
      <Confirm question={question.value} close={() => (question.value = null)} />
    </Panel>
  );
}
