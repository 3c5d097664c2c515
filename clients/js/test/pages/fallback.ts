// A page whose WebSockets are cut on the way, and which hears by server-sent events.

import { connect } from "../../src/index.js";
import { sse } from "../../src/sse.js";

const client = connect({ url: `ws://${new URLSearchParams(location.search).get("daemon")}/v1/ws`, socket: [WebSocket, sse()] });
const heard: string[] = ((globalThis as any).heard = []);
client.subscribe("ticks", { symbol: "SSE" }).on("*", ({ price }, { type }) => heard.push(price === undefined ? type : `${type} ${price}`));
