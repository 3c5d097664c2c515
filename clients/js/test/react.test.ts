// React on a server: what is drawn there is the beginning, and nothing connects.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { useConnected, useStream } from "../src/react.js";
import { turn, world } from "./virtual.js";

test("a server draws the beginning, and opens nothing", async () => {
  const w = world();
  function Page() {
    const { value, status } = useStream(w.client, "bars", { symbol: "AAPL" }, { initial: 7, reduce: (value: number) => value });
    return createElement("p", null, `${value} ${status} ${useConnected(w.client)}`);
  }
  assert.equal(renderToString(createElement(Page)), "<p>7 idle false</p>");
  await turn();
  assert.equal(w.sockets.length, 0);
});
