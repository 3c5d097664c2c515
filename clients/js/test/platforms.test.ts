// The built package on other platforms than a browser.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { WebSocket } from "ws";
const { connect }: typeof import("../src/index.js") = await import(new URL("../dist/index.js", import.meta.url).href);
import { real, stage } from "./stage.js";
import { until } from "./daemon.js";

const run = promisify(execFile);

for (const [platform, ...options] of [["bun", "run"], ["deno", "run", "--quiet", "--allow-net"]]) {
  real(`it runs on ${platform}`, async () => {
    const { stdout } = await run(`node_modules/.bin/${platform}`, [...options, "test/platforms/listen.mjs", `ws://${stage.daemon.clients}/v1/ws`]);
    assert.deepEqual(stdout.trim().split("\n"), ["full_update", "bar"]);
  });
}

real("it runs on Node.js, with a WebSocket of a package where there is none", async () => {
  const client = connect({ url: `http://${stage.daemon.clients}`, socket: WebSocket as any, logLevel: "silent" });
  client.open();
  await until(() => client.state === "waiting");
  assert.match(client.reason, /1006/, "there is nothing at this path");
  client.close();
  const right = connect({ url: `http://${stage.daemon.clients}/v1/ws`, socket: WebSocket as any });
  right.open();
  await until(() => right.isConnected);
  right.close();
});

real("a platform without a WebSocket says what to do", async () => {
  const { WebSocket: own } = globalThis as any;
  (globalThis as any).WebSocket = undefined;
  const client = connect({ url: `ws://${stage.daemon.clients}/v1/ws`, token: () => null });
  client.open();
  await until(() => client.state === "waiting");
  assert.match(client.reason, /give one as the option `socket`/);
  client.close();
  (globalThis as any).WebSocket = own;
});
