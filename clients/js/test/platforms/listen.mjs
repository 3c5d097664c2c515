// Runs on every platform that has a WebSocket of its own: `listen.mjs URL` says what it hears, until two messages came.

import { connect } from "../../dist/index.js";

const address = globalThis.Deno?.args[0] ?? process.argv[2];
const client = connect({ url: address });
let count = 0;
for await (const message of client.subscribe("bars", { symbol: "AAPL" })) {
  console.log(message.type);
  if (++count === 2) break;
}
client.close();
