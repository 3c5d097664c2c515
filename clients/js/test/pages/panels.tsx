// A page of four components over four streams, as a trading dashboard has them: one connection, whatever comes and goes.

import { StrictMode, useState } from "react";
import { createRoot } from "react-dom/client";
import { connect } from "../../src/index.js";
import { useConnected, useStream } from "../../src/react.js";

const client = connect({ url: `ws://${new URLSearchParams(location.search).get("daemon")}/v1/ws` });
const session_id = "exec_20251229_155227_b7f11eaa";
type Instance = { strategy_id: string; symbol: string; state: string };
const keyOf = ({ strategy_id, symbol }: Instance) => `${strategy_id} ${symbol}`;

function instances(shown: Map<string, Instance>, { type, data }: any): Map<string, Instance> {
  const now = type === "full_update" ? new Map<string, Instance>() : new Map(shown);
  for (const instance of data.instances ?? []) now.set(keyOf(instance), instance);
  if (type === "instance_added" || type === "state_change") now.set(keyOf(data), data);
  if (type === "instance_removed") now.delete(keyOf(data));
  return now;
}

const none = new Map<string, Instance>();
const count = (seen: number, { type }: { type: string }) => (type === "full_update" ? seen : seen + 1);

function StateOverviewTable() {
  const { value, status } = useStream(client, "state_machines", { session_id }, { reduce: instances, initial: none });
  const rows = [...value.values()].map(({ strategy_id, symbol, state }) => <li key={strategy_id + symbol}>{`${strategy_id} ${symbol} ${state}`}</li>);
  return <ul id="states" data-status={status}>{rows}</ul>;
}

function LiquidationAlert() {
  const { value } = useStream(client, "alerts", { characteristic_ids: [7] }, { reduce: count, initial: 0 });
  return <p id="alerts">{value}</p>;
}

function ConditionProgress() {
  const { value } = useStream(client, "state_machines", { session_id }, { reduce: instances, initial: none });
  return <p id="progress">{value.size}</p>;
}

function PumpIndicatorsPanel({ symbol }: { symbol: string }) {
  const { value, error } = useStream(client, "ticks", { symbol });
  const refused = useStream(client, "nope");
  return <p id="ticks" data-error={error?.code} data-refused={refused.error?.code}>{JSON.stringify(value?.data)}</p>;
}

function Page() {
  const [isShown, show] = useState(true);
  const [symbol, watch] = useState("PUMP");
  return (
    <main data-connected={useConnected(client)}>
      <button id="toggle" onClick={() => show(!isShown)}>toggle</button>
      <button id="watch" onClick={() => watch("DUMP")}>watch another</button>
      {isShown && <StateOverviewTable />}
      <LiquidationAlert />
      <ConditionProgress />
      <PumpIndicatorsPanel symbol={symbol} />
    </main>
  );
}

// Strict mode mounts every component twice, which must not be two subscriptions.
createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <Page />
  </StrictMode>,
);
