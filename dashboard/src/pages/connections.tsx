// Who is connected; asked when the page is opened, and when somebody wants to know.

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { bytes, count, duration } from "../format";
import { figures } from "../store/daemon";
import { ask } from "../store/session";
import { type Column, Table } from "../table";
import { Confirm, Empty, Note, type Question, Trouble } from "../ui";

interface Connection {
  id: string;
  peer: string | null;
  user: string | null;
  age_s: number;
  endpoint: string;
  dialect: string;
  subscriptions: number;
  topics: string[];
  outbox_bytes: number;
  lagged: number;
  replaced: number;
}
interface Page {
  connections: Connection[];
  more: boolean;
  next: string | null;
}

const PAGE = 200; // a screen or several; the rest on demand

export function Connections() {
  const rows = useSignal<Connection[] | null>(null);
  const next = useSignal<string | null>(null);
  const user = useSignal("");
  const refused = useSignal("");
  const done = useSignal("");
  const question = useSignal<Question | null>(null);

  const fetch = async (after?: string) => {
    const query = new URLSearchParams({ limit: String(PAGE), ...(user.value ? { user: user.value } : {}), ...(after ? { after } : {}) });
    try {
      const page = await ask<Page>(`/v1/connections?${query}`);
      rows.value = after ? [...(rows.peek() ?? []), ...page.connections] : page.connections;
      [next.value, refused.value] = [page.next, ""];
    } catch (error) {
      refused.value = (error as Error).message;
    }
  };
  const close = async (id: string) => {
    try {
      await ask(`/v1/connections/${encodeURIComponent(id)}`, { method: "DELETE" });
      done.value = `${id} is closed.`;
    } catch (error) {
      refused.value = (error as Error).message;
    }
    await fetch();
  };
  useEffect(() => void fetch(), []);

  const columns: Column<Connection>[] = [
    { name: "Connection", by: ({ id }) => id, cell: ({ id }) => <code>{id}</code> },
    { name: "Who", by: (row) => row.user ?? "", cell: (row) => row.user ?? <span class="muted">anybody</span> },
    { name: "From", by: ({ peer }) => peer, cell: ({ peer }) => peer ?? "unix socket" },
    { name: "Age", by: ({ age_s }) => age_s, cell: ({ age_s }) => duration(age_s), isNumber: true },
    { name: "By", by: ({ endpoint }) => endpoint, cell: ({ endpoint, dialect }) => `${endpoint} (${dialect})` },
    {
      name: "Subscriptions",
      by: ({ subscriptions }) => subscriptions,
      cell: ({ subscriptions, topics }) => <span title={topics.join("\n")}>{count(subscriptions)}</span>,
      isNumber: true,
    },
    { name: "Topics", cell: ({ topics }) => <span class="long">{topics.join(", ")}</span> },
    { name: "Outbox", by: (row) => row.outbox_bytes, cell: (row) => bytes(row.outbox_bytes), isNumber: true },
    { name: "Lagged", by: (row) => row.lagged, cell: (row) => count(row.lagged), isNumber: true },
    {
      name: "Close",
      cell: ({ id }) => (
        <button
          type="button"
          aria-label={`Close ${id}`}
          onClick={() => {
            const says = "The client is told, and may come back by itself.";
            question.value = { title: `Close ${id}?`, says, does: "Close", act: () => void close(id) };
          }}
        >
          Close…
        </button>
      ),
    },
  ];
  const now = figures.value?.connections;
  return (
    <>
      <h1>Connections</h1>
      <form
        class="controls line"
        onSubmit={(event) => {
          event.preventDefault();
          void fetch();
        }}
      >
        <label>
          <span class="unseen">Only of this user</span>
          <input type="search" placeholder="Only of user…" value={user.value} onInput={(event) => (user.value = event.currentTarget.value)} />
        </label>
        <button type="submit">Refresh</button>
        <span class="muted">{now === undefined ? "" : `${count(now)} connected now; the list is of when it was fetched.`}</span>
      </form>
      <Trouble says={refused.value} />
      <Note says={done.value} />
      {rows.value?.length === 0 && <Empty>Nobody is.</Empty>}
      {rows.value && rows.value.length > 0 && <Table caption="Connections" columns={columns} rows={rows.value} id={({ id }) => id} first={{ column: 3, down: true }} />}
      {next.value && (
        <button type="button" onClick={() => void fetch(next.value!)}>
          More
        </button>
      )}
      <Confirm question={question.value} close={() => (question.value = null)} />
    </>
  );
}
