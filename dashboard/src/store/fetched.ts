// What no stream tells: fetched when a page is opened, and again when the daemon says that it changed or somebody asks.

import { useSignal } from "@preact/signals";
import { useCallback, useEffect, useRef } from "preact/hooks";
import { ask } from "./session";
import { changes } from "./daemon";

export interface Fetched<T> {
  value: T | null;
  /** Why there is none, or none newer. */
  error: string;
  again: () => void;
}

const TOGETHER_MS = 150; // one reload tells of several broadcasters; that is one question

/** `path` null asks nothing. With `follows` it is asked again when broadcasters or the configuration changed. */
export function useFetched<T>(path: string | null, follows: "changes" | "nothing" = "nothing"): Fetched<T> {
  const value = useSignal<T | null>(null);
  const error = useSignal("");
  const asked = useRef(0);
  const again = useCallback(() => {
    if (!path) return;
    const number = ++asked.current;
    const isNewest = () => number === asked.current;
    ask<T>(path).then(
      (found) => {
        if (isNewest()) [value.value, error.value] = [found, ""];
      },
      (refused: Error) => {
        if (isNewest()) error.value = refused.message;
      },
    );
  }, [path]);
  useEffect(() => {
    value.value = null;
    again();
    return () => void asked.current++;
  }, [path]);
  const now = follows === "changes" ? changes.value : 0;
  const first = useRef(now);
  useEffect(() => {
    if (now === first.current) return;
    const timer = setTimeout(again, TOGETHER_MS);
    return () => clearTimeout(timer);
  }, [now]);
  return { value: value.value, error: error.value, again };
}
