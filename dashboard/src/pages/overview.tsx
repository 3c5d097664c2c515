// How the daemon is, in one look.

import { useMemo } from "preact/hooks";
import { Chart } from "../chart";
import { bytes, count, duration, milliseconds, rate, several, time } from "../format";
import { to } from "../route";
import { broadcasters, figures, past, reload } from "../store/daemon";
import { useFetched } from "../store/fetched";
import { Empty, Panel, State, Tile, Trouble } from "../ui";

interface Status {
  version: string;
  uptime_seconds: number;
  ready: boolean;
  reasons: string[];
  config: string | null;
  listen: string[];
  last_reload: { outcome: "applied" | "refused"; message: string | null; seconds_ago: number } | null;
}

export function Overview() {
  const { value: status, error } = useFetched<Status>("/v1/status", "changes");
  return (
    <>
      <h1>Overview</h1>
      <Trouble says={error} />
      {status && <Readiness status={status} />}
      <Figures />
      <div class="columns">
        <Reloaded status={status} />
        <Who />
      </div>
    </>
  );
}

function Readiness({ status }: { status: Status }) {
  const { ready, reasons, version, uptime_seconds, listen } = status;
  const [of, says] = ready ? (reasons.length ? ["degraded", "Ready, with remarks"] : ["ready", "Ready"]) : ["refused", "Not ready"];
  return (
    <section class="panel ready" aria-label="Readiness">
      <p class="large">
        <State of={of} says={says} />
      </p>
      <p class="muted">
        broadcastd {version} · up {duration(uptime_seconds)} · {listen.join(", ")}
      </p>
      {reasons.length > 0 && (
        <ul class="reasons">
          {reasons.map((reason) => (
            <li key={reason}>{reason}</li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Figures() {
  const now = figures.value;
  const seen = past.value;
  const at = useMemo(() => seen.map((each) => each.at), [seen]);
  const moved = useMemo(() => [at, seen.map(({ figures }) => figures.published_per_s), seen.map(({ figures }) => figures.delivered_per_s)], [seen]);
  const waits = useMemo(
    () => [at, seen.map(({ figures }) => figures.publish_to_write_ms?.p50 ?? null), seen.map(({ figures }) => figures.publish_to_write_ms?.p99 ?? null)],
    [seen],
  );
  if (!now) return <Empty>The first figures come within a second.</Empty>;
  const { p50, p99 } = now.publish_to_write_ms;
  const most = (row: (number | null)[]) => Math.max(0, ...row.map((value) => value ?? 0));
  return (
    <>
      <dl class="tiles">
        <Tile name="Connections" value={count(now.connections)} hint={several(now.subscriptions, "subscription")} />
        <Tile name="Events in" value={rate(now.published_per_s)} />
        <Tile name="Events out" value={rate(now.delivered_per_s)} />
        <Tile name="Publish to write" value={milliseconds(p50)} hint={`p99 ${milliseconds(p99)}`} />
        <Tile name="Lagged" value={count(now.lagged)} hint="since the start" tone={now.lagged ? "warn" : "calm"} />
        <Tile name="Memory for events" value={bytes(now.memory_bytes)} />
      </dl>
      <div class="columns">
        <Panel title="Events per second">
          <Chart
            says={`Now ${rate(now.published_per_s)} in and ${rate(now.delivered_per_s)} out; the most of the last five minutes was ${rate(most(moved[1]!))} in and ${rate(most(moved[2]!))} out.`}
            data={moved}
            curves={[
              { name: "in", color: "accent", width: 2 },
              { name: "out", color: "second", dash: [6, 4], width: 2 },
            ]}
            axis={(value) => rate(value)}
          />
        </Panel>
        <Panel title="From publish to write">
          <Chart
            says={`Now half of all events are written within ${milliseconds(p50)} and 99 of 100 within ${milliseconds(p99)}; the longest p99 of the last five minutes was ${milliseconds(most(waits[2]!))}.`}
            data={waits}
            curves={[
              { name: "p50", color: "accent", width: 2 },
              { name: "p99", color: "second", dash: [6, 4], width: 2 },
            ]}
            axis={milliseconds}
          />
        </Panel>
      </div>
    </>
  );
}

function Reloaded({ status }: { status: Status | null }) {
  const last = reload.value;
  const ago = status?.last_reload;
  const when = last?.at ? `at ${time(last.at)}` : ago ? `${duration(ago.seconds_ago)} ago` : "";
  return (
    <Panel title="Last reload" side={last && <State of={last.what.outcome} />}>
      {!last && <Empty>None since the start. Save {status?.config ? <code>{status.config}</code> : "the configuration"} to reload it.</Empty>}
      {last?.what.outcome === "refused" && (
        <>
          <p>
            Refused {when}: {several(last.what.mistakes ?? 0, "mistake")}. The configuration before it stays active.
          </p>
          <ul class="reasons">
            {last.what.messages?.map((message) => (
              <li key={message}>{message}</li>
            ))}
          </ul>
        </>
      )}
      {last?.what.outcome === "applied" && (
        <>
          <p class="muted">Applied {when}</p>
          <pre class="diff">{last.what.text}</pre>
        </>
      )}
    </Panel>
  );
}

function Who() {
  const all = [...broadcasters.value.values()].sort((a, b) => a.name.localeCompare(b.name));
  return (
    <Panel title="Broadcasters">
      {all.length === 0 && <Empty>None are configured.</Empty>}
      <ul class="plain">
        {all.map(({ name, state, degraded, restarts }) => (
          <li key={name}>
            <a href={to("broadcasters", name)}>{name}</a>
            <span class="muted">{rate(figures.value?.streams[name]?.published_per_s)}</span>
            {restarts > 0 && <span class="muted">{several(restarts, "restart")}</span>}
            <State of={degraded ? "degraded" : state} />
          </li>
        ))}
      </ul>
    </Panel>
  );
}
