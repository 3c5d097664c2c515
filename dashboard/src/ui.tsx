// Small pieces that several pages show.

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";

type Tone = "good" | "warn" | "bad" | "calm";

const TONES: Record<string, [Tone, string]> = {
  running: ["good", "●"],
  quiet: ["good", "●"],
  declared: ["calm", "◇"],
  starting: ["calm", "◔"],
  backing_off: ["warn", "◔"],
  stopped: ["calm", "■"],
  stopping: ["calm", "◔"],
  quarantined: ["bad", "✕"],
  stuck: ["bad", "✕"],
  removed: ["calm", "■"],
  degraded: ["warn", "▲"],
  applied: ["good", "✓"],
  refused: ["bad", "✕"],
  ready: ["good", "✓"],
};

/** A state with a sign and a word beside its colour. */
export function State({ of, says }: { of: string; says?: string }) {
  const [tone, sign] = TONES[of] ?? ["warn", "▲"];
  return (
    <span class={`state ${tone}`}>
      <span aria-hidden="true">{sign}</span> {says ?? of.replaceAll("_", " ")}
    </span>
  );
}

export function Panel({ title, side, children }: { title: string; side?: ComponentChildren; children: ComponentChildren }) {
  return (
    <section class="panel">
      <header>
        <h2>{title}</h2>
        {side}
      </header>
      {children}
    </section>
  );
}

export function Tile({ name, value, hint, tone }: { name: string; value: string; hint?: string; tone?: Tone }) {
  return (
    <div class={`tile ${tone ?? ""}`}>
      <dt>{name}</dt>
      <dd>
        {value}
        {hint && <small>{hint}</small>}
      </dd>
    </div>
  );
}

/** What the daemon would not do, and why. */
export function Trouble({ says }: { says: string }) {
  return says ? (
    <p class="trouble" role="alert">
      <span aria-hidden="true">✕</span> {says}
    </p>
  ) : null;
}

/** Said once it is done, for those who do not see it happen. */
export function Note({ says }: { says: string }) {
  return (
    <p class={says ? "note" : "unseen"} role="status">
      {says}
    </p>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

export interface Question {
  title: string;
  says: string;
  does: string;
  act: () => void;
}

/** Asks before something is done that cannot be taken back as easily. */
export function Confirm({ question, close }: { question: Question | null; close: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    if (question) dialog.current?.showModal();
    else dialog.current?.close();
  }, [question]);
  return (
    <dialog ref={dialog} onClose={close} aria-labelledby="question">
      {question && (
        <form
          method="dialog"
          onSubmit={() => question.act()}
        >
          <h2 id="question">{question.title}</h2>
          <p>{question.says}</p>
          <p class="buttons">
            <button type="button" onClick={close}>
              Cancel
            </button>
            <button class="main" type="submit">
              {question.does}
            </button>
          </p>
        </form>
      )}
    </dialog>
  );
}
