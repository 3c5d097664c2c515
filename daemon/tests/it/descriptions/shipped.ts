import type {
  AlertsMessage,
  AlertsRecords,
  ClientMessage,
  OpsMessage,
  ServerMessage,
  StateMachinesInstancesRecord,
  StateMachinesMessage,
  StateMachinesParams,
  StreamMessages,
  StreamName,
  StreamParams,
  UserMessage,
  UserRecords,
} from "./types";

declare const said: ServerMessage, machine: StateMachinesMessage, alert: AlertsMessage, own: UserMessage, ops: OpsMessage;

switch (machine.type) {
  case "state_change": {
    const from: string = machine.data.previous_state, took: number = machine.data.duration_ms;
    // @ts-expect-error: the program may have named the state alone
    const event: string = machine.data.event;
    void [from, took, event];
    break;
  }
  case "illegal_transition": {
    const is_over: boolean = machine.data.reason === "terminal";
    // @ts-expect-error: there is no such reason
    const is_odd: boolean = machine.data.reason === "odd";
    void [is_over, is_odd];
    break;
  }
  case "full_update": {
    const names: string[] = machine.data.instances.map((one) => one.instance_id);
    const [instance]: StateMachinesInstancesRecord[] = machine.data.instances;
    const session: string = instance.session_id, is_stale: boolean | undefined = instance.stale;
    // @ts-expect-error: it has none until it changes its state
    const before: string = instance.previous_state;
    // @ts-expect-error: that is told when it goes, and then it is in no snapshot
    void instance.final_state;
    // @ts-expect-error: nothing is kept of a transition that was illegal
    void machine.data.records;
    void [names, session, is_stale, before];
    break;
  }
  // @ts-expect-error: nothing is called so
  case "state_changed":
    break;
}
if (alert.type === "violation") {
  const id: number = alert.data.violation_id;
  // @ts-expect-error: a severity is a word
  const severity: number = alert.data.severity;
  void [id, severity];
}
if (alert.type === "full_update") {
  const { capability, samples }: AlertsRecords = alert.data;
  void [capability.map((one) => one.characteristic_id), samples.map((one) => one.zone)];
}
// @ts-expect-error: that is in snapshots only
if (alert.type === "capability") void 0;
// A kind that the configuration adds, and its record.
if (own.type === "POSITION_UPDATE") {
  const positions: unknown = own.data["positions"];
  // @ts-expect-error: of what no schema names nothing is known
  const count: number = own.data["count"];
  void [positions, count];
}
declare const shown: UserRecords;
const kept: { [key: string]: unknown }[] | undefined = shown.records;
void kept;
if (own.type === "PNL_UPDATE") {
  const total: number = own.data.totalPnL;
  // @ts-expect-error: that is another kind's
  void own.data.chainId;
  void total;
}
if (ops.stream === "ops" && ops.type === "full_update") void ops.seq;
// What a stream without kinds tells may have any type, so others are told apart by their stream first.
if (said.stream === "alerts" && said.type === "sample") void said.data.characteristic_id;

const params: StateMachinesParams = { session_id: "exec_1" };
declare const subscribe: <S extends StreamName>(stream: S, params: StreamParams[S], on: (message: StreamMessages[S]) => void) => void;
subscribe("state_machines", params, (message) => message.stream);
subscribe("ops", {}, (message) => message.type);
// @ts-expect-error: that is another stream's
subscribe("bars", params, () => {});
// @ts-expect-error: it has none
subscribe("ops", { symbol: "AAPL" }, () => {});
const wishes: ClientMessage[] = [
  { type: "subscribe", stream: "state_machines", params },
  { type: "command", stream: "alerts", command: "acknowledge", data: { violation_id: 1, reason: "Tool Change" } },
  { type: "command", stream: "ops", command: "list_dead_letters", data: {} },
  // @ts-expect-error: it takes an object, though an empty one
  { type: "command", stream: "ops", command: "list_dead_letters" },
  // @ts-expect-error: nobody acknowledges nothing
  { type: "command", stream: "alerts", command: "acknowledge" },
];
const streams: StreamName[] = ["alerts", "bars", "ops", "state_machines", "user"];
// @ts-expect-error: programs publish to it, and nobody hears it
const input: StreamName = "sessions";
void [wishes, streams, input];
