// A tab that writes down what it hears, over the connection of all tabs.

import { connect } from "../../src/index.js";
import { tabs } from "../../src/tabs.js";

const client = connect({ url: `ws://${new URLSearchParams(location.search).get("daemon")}/v1/ws`, socket: tabs() });
const heard: string[] = ((globalThis as any).heard = []);
client.subscribe("ticks", { symbol: "TAB" }).on("*", ({ price }, { type }) => heard.push(price === undefined ? type : `${type} ${price}`));
