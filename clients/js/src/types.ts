// How the types of `broadcastd schema ts` become those of this client.

import type { Gap, Message, Params, Refusal, Status } from "./wire.js";

/** The messages of each stream by its name: `StreamMessages` of `broadcastd schema ts`, or anything. */
export type AnyStreams = { [stream: string]: Message };

/** A stream by its name, or a topic or pattern of it. */
export type Target<S> = (keyof S & string) | `${keyof S & string}:${string}`;
/** The stream that a target is of. */
export type StreamOf<T extends string> = T extends `${infer Name}:${string}` ? Name : T;

/** What a listener hears: what is said on the stream, and what this client has to say about it. */
export type Heard<S, T extends string> = (StreamOf<T> extends keyof S ? S[StreamOf<T>] : Message) | Gap | Status | Refusal;
export type KindOf<M> = M extends { type: infer Kind extends string } ? Kind : never;
/** The messages of one kind; of a stream without a schema any event may be of it. */
export type OfKind<M, K> = K extends "*" ? M : M extends { type: infer Kind } ? (K extends Kind ? M : never) : never;
export type DataOf<M> = M extends { data: infer Data } ? Data : never;

/** What a stream's parameters are called: `{ bars: BarsParams }`; a stream that is not named takes any. */
export type ParamsOf<P, T extends string> = T extends keyof P ? P[T] : Params;
