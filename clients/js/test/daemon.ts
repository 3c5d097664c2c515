// A real daemon for tests: its binary is what BROADCASTD_BIN names, its ports are free ones, its configuration is the test's.

import { type ChildProcess, spawn } from "node:child_process";
import { createHash, createHmac } from "node:crypto";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";

const { BROADCASTD_BIN: given, BROADCASTD_TEST_REQUIRE: required } = process.env;
const binary = given && resolve(given);

/** Why a test of the real daemon cannot run, for the runner; where everything is required that is an error. */
export const missing: string | false = (() => {
  const why = !binary ? "BROADCASTD_BIN is not set: it names the daemon's binary" : !existsSync(binary) ? `BROADCASTD_BIN: there is no ${binary}; build it with \`cargo build\`` : false;
  if (why && required?.split(",").some((need) => need === "all" || need === "broadcastd")) throw new Error(why);
  return why;
})();

export const SERVICE_TOKEN = "a-service-token-for-tests";
const SECRET = "0123456789abcdef0123456789abcdef";

export const CONFIG = `
[server]
drain = "0s"
[[server.endpoints]]
path = "/v1/ws"
dialect = "native"
[[server.endpoints]]
path = "/v1/closed"
dialect = "native"
auth = "required"
[[server.endpoints]]
path = "/v1/sse"
dialect = "sse"
[ingest]
socket = ""
[auth]
jwt = { secret = { file = "jwt.secret" } }
tokens = [{ name = "tests", sha256 = "${createHash("sha256").update(SERVICE_TOKEN).digest("hex")}", publish = ["ticks"], commands = ["alerts.acknowledge"] }]
[hub]
outbox = "16KiB"
compression = { level = 0 }
[streams.ticks]
visible = true
template = "{symbol}:{venue=X}"
history = { events = 100, bytes = "16MiB", age = "5m" }
[streams.samples]
[streams.sessions]
[broadcasters.alerts]
plugin = "spc"
listen = ["samples"]
settings = { auto = { chart = "imr", limits = { mode = "fixed", center = 10, ucl = 13, lcl = 7 } } }
[broadcasters.state_machines]
plugin = "state_machines"
listen = ["sessions"]
settings = { initial = "MONITORING" }
[streams.user_events]
private = true
[broadcasters.user]
plugin = "user_events"
listen = ["user_events"]
allow_private = true
[broadcasters.bars]
plugin = "bars"
settings = { source = "mock", interval = "100ms", symbols = ["AAPL"], resolutions = ["1"] }
`;

/** A token of a user, as an issuer would sign it. */
export function jwt(user: string, seconds: number): string {
  const encode = (part: object) => Buffer.from(JSON.stringify(part)).toString("base64url");
  const message = `${encode({ alg: "HS256" })}.${encode({ sub: user, exp: Math.floor(Date.now() / 1000) + seconds, publish: ["ticks"] })}`;
  return `${message}.${createHmac("sha256", SECRET).update(message).digest("base64url")}`;
}

export class Daemon {
  clients = "";
  admin = "";
  #folder = mkdtempSync(join(tmpdir(), "broadcastd-js-"));
  #process: ChildProcess | undefined;

  static async start(config = CONFIG): Promise<Daemon> {
    const daemon = new Daemon();
    daemon.configure(config);
    writeFileSync(join(daemon.#folder, "jwt.secret"), SECRET);
    await daemon.start();
    return daemon;
  }

  /** Another configuration, which the daemon takes as soon as it sees it. */
  configure(config: string): void {
    writeFileSync(join(this.#folder, "config.toml"), config);
  }

  /** The same ports as before, if it ran before. */
  async start(): Promise<void> {
    const [clients, admin] = [this.clients || "127.0.0.1:0", this.admin || "127.0.0.1:0"];
    const settings = [`server.listen=["${clients}"]`, `admin.listen="${admin}"`].flatMap((setting) => ["--set", setting]);
    const child = spawn(binary!, ["run", "--config", "config.toml", ...settings], {
      cwd: this.#folder,
      env: { ...process.env, STATE_DIRECTORY: join(this.#folder, "state") },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#process = child;
    const said: string[] = [];
    await new Promise<void>((done, failed) => {
      for (const stream of [child.stdout, child.stderr]) {
        createInterface({ input: stream }).on("line", (line) => {
          said.push(line);
          this.clients = /ws:\/\/([\d.]+:\d+)/.exec(line)?.[1] ?? this.clients;
          this.admin = /http:\/\/([\d.]+:\d+)\/readyz/.exec(line)?.[1] ?? this.admin;
          if (/http:\/\/([\d.]+:\d+)\/readyz/.test(line)) done();
        });
      }
      child.once("exit", (code) => failed(new Error(`the daemon ended with ${code}:\n${said.join("\n")}`)));
    });
    child.removeAllListeners("exit");
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<void> {
    const child = this.#process;
    if (!child || child.exitCode !== null || child.signalCode) return;
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGKILL");
    await ended;
  }

  async end(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async publish(stream: string, ...events: object[]): Promise<void> {
    const answer = await fetch(`http://${this.admin}/v1/streams/${stream}/publish`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(events),
    });
    if (answer.status !== 202) throw new Error(`publishing was answered ${answer.status}: ${await answer.text()}`);
  }

  async tick(symbol: string, price: number): Promise<void> {
    await this.publish("ticks", { type: "tick", topic: `ticks:${symbol}:X`, key: symbol, data: { symbol, price } });
  }

  async connections(): Promise<{ id: string; topics: string[] }[]> {
    const answer = (await (await fetch(`http://${this.admin}/v1/connections`)).json()) as any;
    return answer.connections;
  }

  async closeConnections(): Promise<void> {
    for (const { id } of await this.connections()) await fetch(`http://${this.admin}/v1/connections/${id}`, { method: "DELETE" });
  }
}

const UNTIL_MS = 15_000; // on a machine that does other things, too

/** Waits until something is so, and says what it waited for where that does not happen. */
export async function until(holds: () => unknown): Promise<void> {
  const end = Date.now() + UNTIL_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`it never came to this: ${holds}`);
    await new Promise((again) => setTimeout(again, 5));
  }
}
