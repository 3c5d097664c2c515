// Right uses of the types, and wrong ones that the compiler must refuse.
import type {
  BarsBar,
  BarsMessage,
  BarsParams,
  ClientMessage,
  ErrorCode,
  Event,
  Position,
  ServerMessage,
  StreamMessages,
  StreamName,
  StreamParams,
} from "./bars";

const params: BarsParams = { symbol: ["AAPL", "MSFT"], resolution: 5 };
const said: ClientMessage[] = [
  { type: "subscribe", stream: "bars", params, since: { epoch: "k3f9", seq: 41 }, id: "1" },
  { type: "subscribe", topic: "bars:AAPL:*", since: null },
  { type: "unsubscribe", stream: "bars", params: { symbol: "AAPL" }, id: 2 },
  { type: "ping" },
];

function hear(message: ServerMessage): void {
  switch (message.type) {
    case "bar": {
      const bar: BarsBar = message.data;
      const after: number = message.seq + (message.prev ?? 0) + bar.close;
      const stream: "bars" = message.stream;
      return void [after, stream];
    }
    case "full_update": {
      const bars: BarsBar[] = message.data.bars;
      const since: Position = { epoch: message.epoch, seq: message.seq };
      return void [bars, since];
    }
    case "response":
      if (message.data.status === "subscribed") {
        const recovered: boolean = message.data.recovered;
        return void recovered;
      }
      return;
    case "status":
      if (message.data.status === "lagged") {
        const lost: number = message.data.dropped ?? message.data.replaced ?? 0;
        return void lost;
      }
      return;
    case "error": {
      const code: ErrorCode = message.data.code;
      return void code;
    }
    case "batch":
      return message.data.messages.forEach(hear);
    default: {
      const nothing: never = message;
      return nothing;
    }
  }
}

const name: StreamName = "bars";
const sought: StreamParams[typeof name] = params;
declare const listen: <S extends StreamName>(stream: S, on: (message: StreamMessages[S]) => void) => void;
listen(name, (message: BarsMessage) => hear(message));
declare const event: Event<"bar", "bars", BarsBar>;

// @ts-expect-error there is no such command
const jump: ClientMessage = { type: "jump" };
// @ts-expect-error a token is missing
const auth: ClientMessage = { type: "auth" };
// @ts-expect-error a position has an epoch
const since: ClientMessage = { type: "subscribe", topic: "bars", since: { seq: 1 } };
// @ts-expect-error bars have no such parameter
const other: BarsParams = { colour: "red" };
// @ts-expect-error nor has their stream
const others: StreamParams = { bars: { colour: "red" } };
// @ts-expect-error there is no such stream
const none: StreamName = "nope";
// @ts-expect-error a bar has no such field
event.data.colour;
// @ts-expect-error a price is a number
const text: string = event.data.close;
// @ts-expect-error the first event of a topic has no number before it
const prev: number = event.prev;
// @ts-expect-error there is no such code
const code: ErrorCode = "teapot";

export { auth, code, hear, jump, none, other, others, prev, said, since, sought, text };
