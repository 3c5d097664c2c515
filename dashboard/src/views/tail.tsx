// The events of a stream as they come: to hold, to filter, to look into.

import { useSignal, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { Message } from "broadcastd";
import { count, time } from "../format";
import { client } from "../store/session";
import { Empty, Panel, Trouble } from "../ui";

const SHOWN = 200; // more than anybody reads, few enough to draw with every event

export function Tail({ stream }: { stream: string }) {
  const events = useSignal<(Message & { number: number })[]>([]);
  const held = useSignal<typeof events.value | null>(null);
  const filter = useSignal("");
  const refused = useSignal("");
  const heard = useRef(0);
  useSignalEffect(() => {
    if (!client.value) return;
    const subscription = client.value.subscribe(stream).on("*", (_, message) => {
      if (message.type === "error") return void (refused.value = message.data.message);
      if (message.type === "full_update") return;
      events.value = [{ ...message, number: heard.current++ }, ...events.peek()].slice(0, SHOWN);
    });
    return () => subscription.close();
  });
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = (held.value ?? events.value).filter((event) => {
    const text = `${event.type} ${event.topic ?? ""} ${JSON.stringify(event.data)}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const missed = held.value ? Math.min((events.value[0]?.number ?? -1) - (held.value[0]?.number ?? -1), SHOWN) : 0;
  return (
    <Panel
      title="Live tail"
      side={
        <span class="controls">
          <label>
            <span class="unseen">Only events with these words</span>
            <input type="search" placeholder="Filter: kind, topic, text" value={filter.value} onInput={(event) => (filter.value = event.currentTarget.value)} />
          </label>
          <button type="button" aria-pressed={!!held.value} onClick={() => (held.value = held.value ? null : events.value)}>
            {held.value ? `Go on${missed > 0 ? ` (${count(missed)} new)` : ""}` : "Pause"}
          </button>
        </span>
      }
    >
      <Trouble says={refused.value} />
      {events.value.length === 0 && <Empty>Nothing yet; events appear here as they are published.</Empty>}
      {events.value.length > 0 && found.length === 0 && <Empty>None of the last {count(events.value.length)} has these words.</Empty>}
      <div class="tail" role="log" aria-label={`Events of ${stream}`} aria-live="off" tabIndex={0}>
        {found.map((event) => (
          <details key={event.number}>
              <summary>
                <time>{time(event.timestamp)}</time> <b>{event.type}</b> <span class="muted">{event.topic}</span> <code>{JSON.stringify(event.data)}</code>
              </summary>
              <pre tabIndex={0}>{JSON.stringify({ ...event, number: undefined }, null, 2)}</pre>
          </details>
        ))}
      </div>
      <p class="muted">
        The same in a terminal: <code>broadcastd tap {stream}</code>
      </p>
    </Panel>
  );
}
