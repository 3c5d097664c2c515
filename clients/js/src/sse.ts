// Server-sent events and plain requests in the place of a WebSocket, for networks that let no other through:
// `connect({ socket: [WebSocket, sse()] })`. Nothing else of the client is different.

import { blocks } from "./blocks.js";
import type { Socket, SocketClass } from "./options.js";
import { type Template, topicsOf } from "./templates.js";
import { type Message, type Position, streamOf, type Words } from "./wire.js";

export interface SseOptions {
  /** Where server-sent events are, beside the WebSocket; `/v1/sse` unless it is given. */
  path?: string;
  fetch?: typeof fetch;
}

interface Asked {
  id: string;
  since?: Position;
}

interface Wish {
  topics: string[];
  batchMs: number | undefined;
}

const SILENT_AFTER_MS = 40_000; // the daemon says something every 15 s
const PAGE = 1_000; // events of one request for what was missed; the most that the daemon gives

export function sse(options: SseOptions = {}): SocketClass {
  const spellings = new Map<string, string[]>();
  return class extends SseSocket {
    constructor(url: string) {
      super(url, options, spellings);
    }
  };
}

class SseSocket implements Socket {
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  onerror: Socket["onerror"] = null;
  readonly #base: string;
  readonly #path: string;
  readonly #fetch: typeof fetch;
  readonly #ended = new AbortController();
  #templates: { [stream: string]: Template } = {};
  /** The streams are known; whoever asks before waits for that. */
  #describe = () => {};
  readonly #described = new Promise<void>((done) => (this.#describe = done));
  #token: string | undefined;
  /** What is heard, by the words that asked for it. */
  readonly #wishes = new Map<string, Wish>();
  /** Where each stream is. */
  readonly #places = new Map<string, Position>();
  readonly #lost = new Set<string>();
  #line: AbortController | undefined;
  #isLineDue = false;
  #heardAt = 0;

  constructor(
    url: string,
    { path = "/v1/sse", fetch: given = (...request) => fetch(...request) }: SseOptions,
    /** How the daemon spells the topics of what was once asked for; a history does not say. */
    private readonly spellings: Map<string, string[]>,
  ) {
    this.#base = new URL(url).origin.replace(/^ws/, "http");
    this.#path = path;
    this.#fetch = given;
    void this.#open();
  }

  send(text: string): void {
    for (const line of text.split("\n")) this.#obey(JSON.parse(line)).catch((error: unknown) => this.#broken(error));
  }

  close(): void {
    this.#ended.abort();
    this.#line?.abort();
  }

  async #open(): Promise<void> {
    try {
      await undefined; // who made this listens from here on
      this.onopen?.({});
      await undefined; // and has shown its token, which the first question may need
      const { channels } = await this.#get("/v1/asyncapi.json");
      this.#templates = channels;
      this.#describe();
      this.#say("status", { status: "connected", client_id: "", protocol: "broadcastd.v1", streams: Object.keys(channels) });
    } catch (error) {
      this.#broken(error);
    }
  }

  async #obey(message: any): Promise<void> {
    const { type, id } = message;
    try {
      if (type !== "auth") await this.#described;
      if (type === "auth") this.#authenticate(message);
      else if (type === "ping") this.#pong();
      else if (type === "subscribe") await this.#subscribe(message);
      else if (type === "unsubscribe") this.#unsubscribe(message);
      else if (type === "snapshot") await this.#shownTo(message, this.#topicsOf(message), "snapshot");
      else if (type === "command") await this.#command(message);
      else if (type === "publish") await this.#publish(message);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // Who showed a token showed a wrong one; who showed none may listen to the rest.
      if (error.code === "authentication_required" && this.#token) return this.#end(4001, error.message);
      const stream = message.stream ?? streamOf(message.topic ?? "system");
      this.#say("error", { code: error.code, message: error.message }, { stream, id });
    }
  }

  #authenticate({ token, id }: any): void {
    this.#token = token;
    this.#say("response", { status: "authenticated", user: "" }, { id });
    if (this.#line) this.#redraw();
  }

  #pong(): void {
    if (!this.#line || Date.now() - this.#heardAt < SILENT_AFTER_MS) this.#say("status", { status: "pong" });
  }

  async #subscribe(message: Words & Asked & { batch_ms?: number }): Promise<void> {
    const words = wordsOf(message);
    const known = this.spellings.get(words);
    const isRecovered = known && message.since && (await this.#missed(message, known, message.since));
    const topics = isRecovered ? known : await this.#shownTo(message, this.#topicsOf(message), "subscribed");
    this.spellings.set(words, topics);
    this.#wishes.set(words, { topics, batchMs: message.batch_ms });
    this.#redraw();
  }

  #unsubscribe(message: Words): void {
    if (!this.#wishes.delete(wordsOf(message)) && "topic" in message) {
      for (const wish of this.#wishes.values()) wish.topics = wish.topics.filter((topic) => topic !== message.topic);
    }
    this.#redraw();
  }

  /** What happened behind a position, if all of it is still there; told like what happens later. */
  async #missed(message: Asked, topics: string[], since: Position): Promise<boolean> {
    const stream = streamOf(topics[0]!);
    let [place, more] = [`${since.epoch}:${since.seq}`, true];
    const events: Message[] = [];
    while (more) {
      try {
        const page = await this.#get(`/v1/streams/${stream}/history?${query(topics)}&since=${encodeURIComponent(place)}&limit=${PAGE}`);
        events.push(...page.events);
        [place, more] = [page.since, page.more];
      } catch (error) {
        if (error instanceof Refused && (error.status === 410 || error.status === 409)) return false;
        throw error;
      }
    }
    const [epoch, seq] = [place.slice(0, place.lastIndexOf(":")), Number(place.slice(place.lastIndexOf(":") + 1))];
    this.#behind(stream, { epoch, seq });
    this.#say("response", { status: "subscribed", topics, epoch, recovered: true }, { stream, seq, id: message.id });
    for (const event of events) this.#hand(event);
    return true;
  }

  /** What there is, as the answer to a message; the topics in the daemon's spelling. */
  async #shownTo(message: Asked, topics: string[], status: string): Promise<string[]> {
    const stream = streamOf(topics[0]!);
    const shown = await this.#get(`/v1/streams/${stream}/snapshot?${query(topics)}`);
    const { epoch, seq, topic } = shown;
    const canonical: string[] = shown.topics ?? [topic];
    if (status === "subscribed") this.#behind(stream, { epoch, seq });
    this.#say("response", { status, topics: canonical, epoch, recovered: false }, { stream, seq, id: message.id });
    this.#hand(shown);
    return canonical;
  }

  async #command({ stream, command, data, id }: any): Promise<void> {
    const { result } = await this.#post(`/v1/broadcasters/${stream}/commands/${command}`, data ?? null);
    this.#say("response", { status: "ok", result }, { stream, id });
  }

  async #publish({ type: _, topic, kind, id, ...event }: any): Promise<void> {
    const stream = streamOf(topic);
    const { rejected, position } = await this.#post(`/v1/streams/${stream}/publish`, { type: kind, topic, ...event });
    if (rejected?.length) throw new Refused(422, "invalid_message", `${rejected[0].pointer}: ${rejected[0].error}`);
    this.#say("response", { status: "accepted", epoch: position?.epoch }, { stream, seq: position?.seq, id });
  }

  #topicsOf(words: Words): string[] {
    try {
      return topicsOf(words, "stream" in words ? this.#templates[words.stream] : undefined);
    } catch (error) {
      throw new Refused(400, "invalid_params", (error as Error).message);
    }
  }

  /** The line has to bring everything above this. */
  #behind(stream: string, place: Position): void {
    const known = this.#places.get(stream);
    if (!known || known.epoch !== place.epoch || place.seq < known.seq) this.#places.set(stream, place);
  }

  /** Topics are part of the request, so that another set of them is another request; one for all of one turn. */
  #redraw(): void {
    if (this.#isLineDue) return;
    this.#isLineDue = true;
    setTimeout(() => {
      this.#isLineDue = false;
      void this.#draw();
    });
  }

  async #draw(): Promise<void> {
    this.#line?.abort();
    const wishes = [...this.#wishes.values()];
    const topics = [...new Set(wishes.flatMap((wish) => wish.topics))];
    if (this.#ended.signal.aborted || !topics.length) return void (this.#line = undefined);
    const line = (this.#line = new AbortController());
    this.#heardAt = Date.now();
    this.#lost.clear();
    const place = [...this.#places].map(([stream, { epoch, seq }]) => `${stream}=${epoch}:${seq}`).join(";");
    const soonest = Math.min(...wishes.map(({ batchMs }) => batchMs ?? 0)); // who wants them one by one gets them so
    const batch = soonest ? `&batch_ms=${soonest}` : "";
    try {
      const answer = await this.#ask(`${this.#path}?${query(topics)}${batch}`, { headers: { "last-event-id": place }, signal: line.signal });
      const alive = () => (this.#heardAt = Date.now());
      await blocks(answer.body!, alive, (data) => this.#line === line && this.#told(JSON.parse(data)));
      if (this.#line === line) this.#end(1006, "the line ended");
    } catch (error) {
      if (this.#line === line) this.#broken(error);
    }
  }

  #told(message: Message): void {
    const { type, stream, data } = message;
    if (type === "batch") for (const each of data.messages) this.#told(each);
    else if (type === "error" && data.code === "authentication_required") this.#end(4001, data.message);
    else if (type === "status" && data.status === "logged_out") this.#end(4001, "logged out");
    else if (type === "status" && data.status === "connected") return;
    else if (type === "response") this.#resumed(message);
    else {
      if (message.seq !== undefined) this.#places.set(stream, { epoch: message.epoch ?? this.#places.get(stream)!.epoch, seq: message.seq });
      this.#hand(type === "full_update" && this.#lost.delete(stream) ? { ...message, resync: true } : message);
    }
  }

  /** A stream that could not go on says so here, and shows everything next. */
  #resumed({ stream, seq, data, timestamp }: Message): void {
    if (data.recovered) return;
    this.#lost.add(stream);
    const from = this.#places.get(stream)?.seq ?? 0;
    this.#say("status", { status: "lagged", dropped: Math.max(1, (seq ?? 0) - from), from, to: seq, policy: "resync" }, { stream, timestamp });
  }

  #hand(message: Message): void {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  #say(type: string, data: object, more: object = {}): void {
    this.onmessage?.({ data: JSON.stringify({ type, stream: "system", session_id: null, data, timestamp: new Date().toISOString(), ...more }) });
  }

  async #get(path: string): Promise<any> {
    return (await this.#ask(path, {})).json();
  }

  async #post(path: string, body: unknown): Promise<any> {
    const headers = { "content-type": "application/json" };
    return (await this.#ask(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
  }

  async #ask(path: string, request: RequestInit): Promise<Response> {
    const headers: Record<string, string> = { ...(request.headers as {}) };
    if (this.#token) headers["authorization"] = `Bearer ${this.#token}`;
    const answer = await this.#fetch(this.#base + path, { signal: this.#ended.signal, ...request, headers });
    if (answer.ok) return answer;
    const { error } = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, error?.code ?? "internal", error?.message ?? `${path} was answered ${answer.status}`);
  }

  #broken(error: unknown): void {
    if (error instanceof Refused && error.status === 401) this.#end(4001, error.message);
    else this.#end(1006, String(error));
  }

  #end(code: number, reason: string): void {
    this.close();
    this.onclose?.({ code, reason });
    this.onclose = null;
  }
}

/** The daemon's answer was no. */
class Refused extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

const query = (topics: string[]): string => topics.map((topic) => `topic=${encodeURIComponent(topic)}`).join("&");

const wordsOf = (words: Words): string => ("topic" in words ? words.topic : JSON.stringify([words.stream, words.params]));
