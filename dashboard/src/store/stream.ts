// A view's part of a stream: what there is and what happens, and before that what is kept of the last minutes.

import { useSignalEffect } from "@preact/signals";
import type { Message } from "broadcastd";
import { ask, client } from "./session";

export interface Ear {
  /** An event of the history, in order; it may come after the snapshot. */
  past?: (message: Message) => void;
  /** The records by their collections. */
  snapshot: (data: Record<string, any[]>) => void;
  event: (message: Message) => void;
  /** After the history and after each snapshot: what was heard makes a picture. */
  drawn?: () => void;
}

const PAGES = 20; // of a thousand events each; a picture of more shows nothing more

export function useHeard(stream: string, ear: Ear): void {
  useSignalEffect(() => {
    if (!client.value) return;
    const { past, drawn = () => {} } = ear;
    if (past) {
      const kept = history(stream);
      kept.then((events) => (events.forEach(past), drawn())).catch(() => {}); // then the picture begins now
    }
    const subscription = client.value.subscribe(stream).on("*", (data, message) => {
      if (message.type === "full_update") {
        ear.snapshot(data);
        drawn();
      } else if (message.seq) ear.event(message);
    });
    return () => subscription.close();
  });
}

/** What is kept of a stream, the oldest first. */
export async function history(stream: string, query = ""): Promise<Message[]> {
  const events: Message[] = [];
  let since = "";
  for (let page = 0; page < PAGES; page++) {
    const found = await ask(`/v1/streams/${encodeURIComponent(stream)}/history?limit=1000${query}${since && `&since=${encodeURIComponent(since)}`}`);
    events.push(...found.events);
    if (!found.more) break;
    since = found.since;
  }
  return events;
}
