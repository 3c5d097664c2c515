// Where it begins: who may see it is found out first.

import { render } from "preact";
import "uplot/dist/uPlot.min.css";
import "./style.css";
import { App } from "./app";
import { enter } from "./store/session";

render(<App />, document.getElementById("app")!);
void enter();
