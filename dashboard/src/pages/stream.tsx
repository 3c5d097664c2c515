// One stream: the picture that its declaration asks for, and its events as they come.

import { lazy, Suspense } from "preact/compat";
import { count, rate, several } from "../format";
import { figures } from "../store/daemon";
import { useFetched } from "../store/fetched";
import { State, Trouble } from "../ui";
import { Cards } from "../views/cards";
import { Control } from "../views/control";
import { Machines } from "../views/machines";
import { Tail } from "../views/tail";
import type { Stream } from "./streams";

const Candles = lazy(() => import("../views/candles")); // its charts are larger than all the rest

export function StreamPage({ name }: { name: string }) {
  const { value, error } = useFetched<Stream & { topic_names?: string[] }>(`/v1/streams/${encodeURIComponent(name)}`);
  if (!value) return <Head name={name} error={error} />;
  const now = figures.value?.streams[name];
  return (
    <>
      <Head name={name} error={error} />
      <p class="muted line">
        <State of={value.source} says={value.reason ? `${value.source}: ${value.reason}` : value.source} />
        <span>{rate(now?.published_per_s)}</span>
        <span>{several(now?.subscriptions ?? value.subscriptions, "subscription")}</span>
        <span>{several(value.records, "record")}</span>
        <span>
          {count(value.history.events)} of {count(value.history.max_events)} events kept
        </span>
        <code>{value.address}</code>
      </p>
      <Picture stream={value} />
      {!value.private && <Tail stream={name} />}
    </>
  );
}

function Head({ name, error }: { name: string; error: string }) {
  return (
    <>
      <h1>{name}</h1>
      <Trouble says={error} />
    </>
  );
}

function Picture({ stream }: { stream: Stream }) {
  if (stream.private) return <Cards stream={stream} />;
  switch (stream.view) {
    case "candles":
      return (
        <Suspense fallback={<p class="muted">Loading the chart…</p>}>
          <Candles stream={stream} />
        </Suspense>
      );
    case "control_chart":
      return <Control stream={stream} />;
    case "state_machine":
      return <Machines stream={stream} />;
    default:
      return null; // `log`, and views that a dashboard of another version may know
  }
}
