// Streams in React: a component says what it shows, and is drawn again when that changes.

import { useCallback, useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import type { Client, Heard, ParamsOf, StreamOf, SubscribeOptions, Subscription, Target } from "./index.js";

/** What a component knows of its stream. */
export interface Streamed<T> {
  /** What the component made of everything so far; without `reduce` the last message. */
  value: T;
  /** `live` once the daemon has answered, `refused` where it said no. */
  status: Subscription["state"];
  /** Why, where it said no. */
  error: { code: string; message: string } | undefined;
}

export interface UseStreamOptions<M, T> extends SubscribeOptions {
  /** Makes what the component shows of what it showed and a message: `full_update` first, then what happens. */
  reduce?: (value: T, message: M) => T;
  initial?: T;
}

/** The state of a stream for as long as the component is there; components that ask for the same share one subscription. */
export function useStream<S, P, T extends Target<S>, V = Heard<S, T> | undefined>(
  client: Client<S, P>,
  target: T,
  params?: ParamsOf<P, StreamOf<T>>,
  options: UseStreamOptions<Heard<S, T>, V> = {},
): Streamed<V> {
  const latest = useRef(options);
  useEffect(() => void (latest.current = options));
  const words = JSON.stringify([target, params, options.batchMs]);
  const store = useMemo(() => new Store(client, target, params, latest.current as UseStreamOptions<any, any>), [client, words]);
  store.options = latest;
  return useSyncExternalStore(store.subscribe, store.read, store.readInitial) as Streamed<V>;
}

/** Whether the page is connected. */
export function useConnected(client: Client<any, any>): boolean {
  const watch = useCallback((changed: () => void) => client.watch(changed), [client]);
  return useSyncExternalStore(
    watch,
    () => client.isConnected,
    () => false,
  );
}

class Store {
  options: { current: UseStreamOptions<any, any> };
  readonly #initial: Streamed<any>;
  #now: Streamed<any>;

  constructor(
    private readonly client: Client<any, any>,
    private readonly target: string,
    private readonly params: any,
    options: UseStreamOptions<any, any>,
  ) {
    this.options = { current: options };
    this.#initial = this.#now = { value: options.initial, status: "idle", error: undefined };
  }

  readonly read = (): Streamed<any> => this.#now;
  readonly readInitial = (): Streamed<any> => this.#initial;

  readonly subscribe = (changed: () => void): (() => void) => {
    const { batchMs, since } = this.options.current;
    const subscription = this.client.subscribe(this.target, this.params, { ...(batchMs && { batchMs }), ...(since && { since }) });
    this.#now = this.#initial;
    subscription.on("*", (data: any, message: any) => {
      const { reduce } = this.options.current;
      const value = reduce ? reduce(this.#now.value, message) : message;
      this.#now = { value, status: subscription.state, error: message.type === "error" ? data : undefined };
      changed();
    });
    return () => subscription.close();
  };
}
