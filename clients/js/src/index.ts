// What `import … from "broadcastd"` gives: one shared client per page, and the types around it.

import { Client } from "./client.js";
import { address, type Options } from "./options.js";
import type { AnyStreams } from "./types.js";

export { Client, type PublishOptions, type SubscribeOptions } from "./client.js";
export type { State } from "./connection.js";
export type { FeedState } from "./feed.js";
export type { Clock, Level, Logger, Options, Socket, SocketClass, Token } from "./options.js";
export { RequestError } from "./requests.js";
export type { Subscription } from "./subscription.js";
export type { AnyStreams, DataOf, Heard, KindOf, OfKind, ParamsOf, StreamOf, Target } from "./types.js";
export type { Gap, Message, Param, Params, Position, Refusal, Status } from "./wire.js";

const shared: { url: string; token: Options["token"]; client: Client<any, any> }[] = [];

/**
 * The page's client for this daemon and token: the same one whoever asks. It connects when something is first subscribed to.
 * `new Client(options)` is one of its own.
 */
export function connect<S = AnyStreams, P = {}>(options: Options = {}): Client<S, P> {
  const { token } = options;
  const url = address(options.url);
  const found = shared.find((known) => known.url === url && known.token === token);
  if (found) return found.client;
  const client = new Client<S, P>(options);
  shared.push({ url, token, client });
  return client;
}
