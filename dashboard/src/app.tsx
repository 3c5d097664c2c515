// The frame around every page: where one is, whether the daemon is heard, and the question for the token.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import icon from "./icon.svg";
import { Broadcasters } from "./pages/broadcasters";
import { Config } from "./pages/config";
import { Connections } from "./pages/connections";
import { Overview } from "./pages/overview";
import { StreamPage } from "./pages/stream";
import { Streams } from "./pages/streams";
import { route, to } from "./route";
import { draining } from "./store/daemon";
import { access, enter, hasToken, leave, link, refusal } from "./store/session";
import { Trouble } from "./ui";

const PAGES: [path: string, name: string, page: (part: string | undefined) => JSX.Element][] = [
  ["", "Overview", () => <Overview />],
  ["broadcasters", "Broadcasters", (name) => <Broadcasters chosen={name} />],
  ["streams", "Streams", (name) => (name ? <StreamPage key={name} name={name} /> : <Streams />)],
  ["connections", "Connections", () => <Connections />],
  ["config", "Configuration", () => <Config />],
];

export function App() {
  const [first = "", second] = route.value;
  const [path, name, page] = PAGES.find(([path]) => path === first) ?? PAGES[0]!;
  useEffect(() => {
    document.title = `${second ?? name} · broadcastd`;
  }, [name, second]);
  if (access.value === "asking") return <main class="gate" aria-busy="true" />;
  if (access.value !== "open") return <Gate />;
  return (
    <>
      <a class="skip" href="#content" onClick={(event) => (event.preventDefault(), document.getElementById("content")?.focus())}>
        Skip to the content
      </a>
      <header class="top">
        <a class="brand" href={to()}>
          <img src={icon} alt="" width="20" height="20" />
          broadcastd
        </a>
        <nav aria-label="Pages">
          {PAGES.map(([each, title]) => (
            <a key={each} href={to(...(each ? [each] : []))} aria-current={each === path ? "page" : undefined}>
              {title}
            </a>
          ))}
        </nav>
        <Link />
        {hasToken() && (
          <button type="button" onClick={leave}>
            Leave
          </button>
        )}
      </header>
      <main id="content" tabIndex={-1}>
        {page(second)}
      </main>
      <footer>
        Everything here is told by the daemon as it happens. <a href="/assets/licenses.txt">Licences</a>
      </footer>
    </>
  );
}

/** Whether what is shown is of now. */
function Link() {
  const { state, reason } = link.value;
  const [tone, sign, says] =
    draining.value && state === "connected"
      ? ["warn", "◔", "draining"]
      : state === "connected"
        ? ["good", "●", "live"]
        : state === "closed"
          ? ["bad", "✕", `ended: ${reason}`]
          : ["warn", "◔", "connecting…"];
  return (
    <span class={`state ${tone} link`} role="status" title={reason}>
      <span aria-hidden="true">{sign}</span> {says}
    </span>
  );
}

function Gate() {
  const token = useSignal("");
  const isSilent = access.value === "silent";
  return (
    <main class="gate">
      <form
        class="panel"
        onSubmit={(event) => {
          event.preventDefault();
          void enter(token.value.trim());
        }}
      >
        <h1>broadcastd</h1>
        {isSilent ? (
          <p>The daemon does not answer.</p>
        ) : (
          <label>
            Admin token
            <input type="password" autocomplete="off" required value={token.value} onInput={(event) => (token.value = event.currentTarget.value)} />
            <small>
              The secret of <code>admin.token</code>. It stays in this tab.
            </small>
          </label>
        )}
        <Trouble says={refusal.value} />
        <button class="main" type="submit">
          {isSilent ? "Try again" : "Enter"}
        </button>
      </form>
    </main>
  );
}
