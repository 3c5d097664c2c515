// A private stream: what one user is shown, as cards. Whoever looks needs the admin token, and the daemon notes it.

import { useSignal, useSignalEffect } from "@preact/signals";
import { digits, time } from "../format";
import type { Stream } from "../pages/streams";
import { ask, hasToken, watching } from "../store/session";
import { Empty, Panel, State, Trouble } from "../ui";

interface Card {
  kind: string;
  data: Record<string, unknown>;
  at: string | null;
}

/** Members that tell things of one kind apart, such as `chainId`, `mode`, `asset`. */
const NAMING = /^(id|mode|asset|symbol|key)$|Id$/;
const LONGEST = 6; // members that a card shows before the rest

const identity = ({ kind, data }: Card) => `${kind} ${data[Object.keys(data).find((member) => NAMING.test(member)) ?? ""] ?? ""}`;

export function Cards({ stream }: { stream: Stream }) {
  const said = useSignal("");
  const user = useSignal("");
  const refused = useSignal("");
  const cards = useSignal<ReadonlyMap<string, Card>>(new Map());
  const isLive = useSignal(false);

  useSignalEffect(() => {
    if (!user.value) return;
    const watcher = watching(user.value);
    watcher.watch(() => (isLive.value = watcher.isConnected));
    watcher.subscribe(stream.name).on("*", (data, { type: kind, timestamp: at, seq }) => {
      if (kind === "full_update") {
        const all = Object.entries(stream.kinds).flatMap(([kind, collection]) => (data[collection ?? "records"] ?? []).map((each: any) => ({ kind, data: each, at: null })));
        cards.value = new Map(all.map((card: Card) => [identity(card), card]));
      } else if (kind === "error") refused.value = data.message;
      else if (seq) {
        const card = { kind, data, at };
        cards.value = new Map(cards.peek()).set(identity(card), card);
      }
    });
    return () => watcher.close();
  });

  const look = async (event: Event) => {
    event.preventDefault();
    [refused.value, cards.value, isLive.value, user.value] = ["", new Map(), false, ""];
    try {
      // A stream of events does not say why it is refused; a question does.
      await ask(`/v1/streams/${encodeURIComponent(stream.name)}?audience=${encodeURIComponent(said.value)}`);
      user.value = said.value;
    } catch (error) {
      refused.value = (error as Error).message;
    }
  };
  const all = [...cards.value.values()].sort((a, b) => identity(a).localeCompare(identity(b)));
  return (
    <Panel title="What one user is shown" side={user.value && <State of={isLive.value ? "running" : "starting"} says={isLive.value ? "live" : "connecting"} />}>
      <form class="controls" onSubmit={(event) => void look(event)}>
        <label>
          User <input required value={said.value} onInput={(event) => (said.value = event.currentTarget.value)} />
        </label>
        <button type="submit">Show</button>
        <span class="muted">{hasToken() ? "The daemon notes who looked at whom." : "This needs admin.token: without it nobody is shown what is private."}</span>
      </form>
      <Trouble says={refused.value} />
      {user.value && all.length === 0 && <Empty>Nothing is kept for {user.value}; what comes from now on appears here.</Empty>}
      <ul class="cards">
        {all.map((card) => (
          <li key={identity(card)}>
            <h3>{card.kind.replaceAll("_", " ").toLowerCase()}</h3>
            <dl class="facts">
              {Object.entries(card.data)
                .slice(0, LONGEST)
                .map(([member, value]) => (
                  <>
                    <dt>{member}</dt>
                    <dd>{typeof value === "object" && value ? <code>{JSON.stringify(value)}</code> : digits(value)}</dd>
                  </>
                ))}
            </dl>
            {card.at && <small class="muted">changed at {time(card.at)}</small>}
          </li>
        ))}
      </ul>
    </Panel>
  );
}
