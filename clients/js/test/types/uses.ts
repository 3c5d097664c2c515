// What the compiler has to take and to refuse, with the types that the daemon prints; it is compiled and never run.

import { connect, type Gap, type Message } from "../../src/index.js";
import { useStream } from "../../src/react.js";
import type * as named from "../../src/user_events.js";
import type * as made from "../../build/types/streams.js";

const client = connect<made.StreamMessages, made.StreamParams>({ url: "/v1/ws" });

// Streams, topics and patterns.
client.subscribe("bars");
client.subscribe("bars:AAPL:1");
client.subscribe("state_machines", { session_id: "exec_1" });
// @ts-expect-error: there is no such stream
client.subscribe("barz");
// @ts-expect-error: nor is it a topic of one
client.subscribe("barz:AAPL:1");

// Parameters of each stream.
client.subscribe("bars", { symbol: "AAPL", resolution: 5 });
client.subscribe("state_machines", { session_id: ["exec_1", "exec_2"] });
client.subscribe("alerts", { characteristic_ids: [1, 2, 3] });
// @ts-expect-error: there is no such parameter
client.subscribe("bars", { sybmol: "AAPL" });
// @ts-expect-error: that is another stream's
client.subscribe("state_machines", { symbol: "AAPL" });
// @ts-expect-error: an object is no value
client.subscribe("bars", { symbol: { name: "AAPL" } });

// Kinds and payloads.
const bars = client.subscribe("bars:AAPL:1");
bars.on("bar", (bar, message) => {
  const close: number = bar.close;
  const seq: number = message.seq;
  const kind: "bar" = message.type;
  // @ts-expect-error: a close is no text
  const text: string = bar.close;
  // @ts-expect-error: a bar has no bid
  bar.bid;
  return [close, seq, kind, text];
});
bars.on("full_update", ({ bars }) => bars.map(({ open }) => open.toFixed(2)));
bars.on("gap", (gap, message: Gap) => [gap.reason === "resume", gap.from?.seq, message]);
bars.on("status", ({ status, reason }) => [status, reason]);
bars.on("error", ({ code }) => code.length);
// @ts-expect-error: bars have no such event
bars.on("violation", () => {});
// @ts-expect-error: a gap has two reasons
bars.on("gap", (gap) => gap.reason === "boredom");
client.subscribe("alerts").on("violation", (violation) => violation.severity === "CRITICAL");

// Snapshots, whose records need not be what events say.
client.subscribe("state_machines").on("full_update", ({ instances }) => instances.filter(({ stale }) => !stale).map(({ session_id }) => session_id.length));
client.subscribe("alerts").on("full_update", ({ capability }) => capability.map(({ characteristic_id }) => characteristic_id));
// @ts-expect-error: no event tells it
client.subscribe("alerts").on("capability", () => {});
client.subscribe("user").on("POSITION_UPDATE", (positions) => positions["positions"]);

// Everything at once: a switch tells messages apart.
bars.on("*", (_, message) => {
  switch (message.type) {
    case "bar":
      return message.data.close;
    case "full_update":
      return message.data.bars.length;
    case "gap":
      return message.data.from?.seq;
    case "status":
    case "error":
      return 0;
    default:
      return message satisfies never;
  }
});

async function loops() {
  for await (const message of client.subscribe("bars")) if (message.type === "bar") message.data.close.toFixed(2);
  using machines = client.subscribe("state_machines");
  machines.on("state_change", ({ state, previous_state }) => state + previous_state);
}
void loops;

// Commands and events.
void client.command("alerts", "acknowledge", { violation_id: 1 });
// @ts-expect-error: there is no such stream
void client.command("alrts", "acknowledge");
// @ts-expect-error: an event's payload is an object
void client.publish("ticks:AAPL", "tick", 150.5);

// React.
export function Price() {
  const { value, status } = useStream(client, "bars", { symbol: "AAPL" });
  if (value?.type === "bar") value.data.close.toFixed(2);
  const count = useStream(client, "bars", undefined, { initial: 0, reduce: (count: number, message) => (message.type === "bar" ? count + 1 : count) });
  const sum: number = count.value;
  // @ts-expect-error: there is no such stream
  useStream(client, "barz");
  // @ts-expect-error: there is no such parameter
  useStream(client, "bars", { sybmol: "AAPL" });
  return [status, sum];
}

// Types of some streams only, and none at all: what is not named takes anything.
connect<made.StreamMessages, Pick<made.StreamParams, "bars">>().subscribe("alerts", { whatever: 1 });
const any = connect();
any.subscribe("whatever", { some: 1 }).on("thing", (data, message: Message) => [data.anything, message.seq]);
// @ts-expect-error: a token is a text, or what gives one
connect({ token: 1 });
// @ts-expect-error: there is no such level
connect({ logLevel: "loud" });

// The names that pages know are what the daemon describes.
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
type Configured = "BALANCE_UPDATE" | "ORDER_UPDATE" | "POSITION_UPDATE" | "SIGNAL_GENERATED" | "TRADE_UPDATE";
export const same: [
  Same<named.ChainUpdatePayload, made.UserCHAINUPDATE>,
  Same<named.LifecycleEventPayload, made.UserLIFECYCLEEVENT>,
  Same<named.GinieStatusPayload, made.UserGINIESTATUSUPDATE>,
  Same<named.CircuitBreakerPayload, made.UserCIRCUITBREAKERUPDATE>,
  Same<named.PnLPayload, made.UserPNLUPDATE>,
  Same<named.ModeStatusPayload, made.UserMODESTATUSUPDATE>,
  Same<named.SystemStatusPayload, made.UserSYSTEMSTATUSUPDATE>,
  Same<named.SignalUpdatePayload, made.UserSIGNALUPDATE>,
  Same<named.UserRecords, made.UserRecords>,
  Same<named.WebSocketEventType, Exclude<made.UserMessage["type"], "full_update" | Configured>>,
  Same<keyof named.ChainUpdatePayload, keyof made.UserCHAINUPDATE>,
  Same<keyof named.SystemStatusPayload, keyof made.UserSYSTEMSTATUSUPDATE>,
] = [true, true, true, true, true, true, true, true, true, true, true, true];
connect<named.UserStreams>().subscribe("user").on("PNL_UPDATE", ({ dailyPnL }) => dailyPnL.toFixed(2));
// @ts-expect-error: there is no such kind
connect<named.UserStreams>().subscribe("user").on("PNL", () => {});
