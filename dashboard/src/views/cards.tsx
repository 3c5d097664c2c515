// A private stream: what one user is shown, as cards. Whoever names a user needs the admin token, and the daemon notes it;
// whoever has the user's own token is shown what that shows.

import { useSignal, useSignalEffect } from "@preact/signals";
import { digits, time } from "../format";
import type { Stream } from "../pages/streams";
import { askAs, type Eyes, hasToken, Refused, watching } from "../store/session";
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
  const own = useSignal("");
  const eyes = useSignal<Eyes | null>(null);
  const refused = useSignal("");
  const cards = useSignal<ReadonlyMap<string, Card>>(new Map());
  const isLive = useSignal(false);

  useSignalEffect(() => {
    const shown = eyes.value;
    if (!shown) return;
    const watcher = watching(shown);
    watcher.watch(() => {
      isLive.value = watcher.isConnected;
      const isOver = watcher.state === "waiting" || watcher.state === "closed";
      if (isOver && eyes.peek() === shown) void permitted(shown).then((may) => may && eyes.peek() === shown && watcher.state === "closed" && end(`It ended: ${watcher.reason}.`));
    });
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

  /** Nothing is shown any more, and why. */
  const end = (why: string) => {
    [refused.value, cards.value, isLive.value, eyes.value] = [why, new Map(), false, null];
  };

  /** Whether these eyes may look. A stream of events does not say why it is refused; a question does. */
  const permitted = async (asked: Eyes) => {
    const before = eyes.peek();
    try {
      await askAs(asked, `/v1/streams/${encodeURIComponent(stream.name)}`);
      return true;
    } catch (error) {
      // A daemon that does not answer may come back; whoever looks at somebody else by now is not concerned.
      if ((before && !(error instanceof Refused)) || eyes.peek() !== before) return false;
      end((error as Error).message);
      return false;
    }
  };
  const look = async (event: Event) => {
    event.preventDefault();
    const asked = { name: said.value, token: own.value };
    end("");
    if (!(await permitted(asked))) return;
    [eyes.value, own.value] = [asked, ""];
  };
  const all = [...cards.value.values()].sort((a, b) => identity(a).localeCompare(identity(b)));
  return (
    <Panel title="What one user is shown" side={eyes.value && <State of={isLive.value ? "running" : "starting"} says={isLive.value ? "live" : "connecting"} />}>
      <form class="controls" onSubmit={(event) => void look(event)}>
        <label>
          User <input required={!own.value} value={said.value} onInput={(event) => (said.value = event.currentTarget.value)} />
        </label>
        <label>
          or their own token <input type="password" autocomplete="off" value={own.value} onInput={(event) => (own.value = event.currentTarget.value)} />
        </label>
        <button type="submit">Show</button>
        <span class="muted">
          {hasToken() ? "Of whoever is named the daemon notes who looked." : "To name a user needs admin.token."} A token shows what it shows its user, and is forgotten with this page.
        </span>
      </form>
      <Trouble says={refused.value} />
      {eyes.value && all.length === 0 && <Empty>Nothing is kept for {eyes.value.name || "this user"}; what comes from now on appears here.</Empty>}
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
