// What a file would change in place of the one that is in force, or what is wrong with it.

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { post, Refused } from "../store/session";
import { Panel, State, Trouble } from "../ui";

interface Diagnostic {
  code: string;
  severity: "error" | "warning";
  message: string;
  line: number | null;
  column: number | null;
  label: string | null;
  help: string | null;
}

export function Check() {
  const text = useSignal("");
  const plan = useSignal("");
  const refused = useSignal("");
  const mistakes = useSignal<Diagnostic[]>([]);
  const area = useRef<HTMLTextAreaElement>(null);
  const lines = text.value.split("\n");

  const check = async (event: Event) => {
    event.preventDefault();
    [plan.value, refused.value, mistakes.value] = ["", "", []];
    try {
      plan.value = (await post<{ text: string }>("/v1/plan", { config: text.value, name: "the pasted file" })).text;
    } catch (error) {
      if (error instanceof Refused && error.body?.diagnostics) mistakes.value = error.body.diagnostics;
      else refused.value = (error as Error).message;
    }
  };
  /** Shows a line where it stands. */
  const go = (line: number) => {
    const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0);
    area.current?.focus();
    area.current?.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0));
    if (area.current) area.current.scrollTop = (line - 4) * (area.current.scrollHeight / lines.length);
  };
  return (
    <Panel title="Check a file">
      <form onSubmit={(event) => void check(event)}>
        <label class="field">
          <span class="muted">Paste a config.toml. Nothing is changed: the daemon says what it would mean.</span>
          <textarea ref={area} rows={8} spellcheck={false} required value={text.value} onInput={(event) => (text.value = event.currentTarget.value)} />
        </label>
        <button type="submit">Check</button>
      </form>
      <div aria-live="polite">
        <Trouble says={refused.value} />
        {plan.value && <pre class="diff">{plan.value}</pre>}
        {mistakes.value.length > 0 && (
          <ul class="mistakes">
            {mistakes.value.map((each, index) => (
              <li key={index}>
                <State of={each.severity === "error" ? "refused" : "degraded"} says={`${each.severity} ${each.code}`} /> {each.message}
                {each.line !== null && (
                  <>
                    {" "}
                    <button type="button" onClick={() => go(each.line!)}>
                      line {each.line}
                    </button>
                    <pre>
                      {String(each.line).padStart(4)} | {lines[each.line - 1]}
                      {"\n     | "}
                      {" ".repeat(Math.max(0, (each.column ?? 1) - 1))}^ {each.label}
                    </pre>
                  </>
                )}
                {each.help && <p class="muted">{each.help}</p>}
              </li>
            ))}
          </ul>
        )}
      </div>
    </Panel>
  );
}
