// The client in a worker: what it hears goes to the page.

import { connect } from "../../src/index.js";

const client = connect({ url: `ws://${new URLSearchParams(location.search).get("daemon")}/v1/ws` });
client.subscribe("ticks", { symbol: "WORK" }).on("*", (_, { type }) => postMessage(type));
