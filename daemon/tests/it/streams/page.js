// The rules by which a page with one connection lives, for ten minutes of a clock that does not wait. What a daemon says
// comes in by standard input; what became of the page goes out as one line of JSON.

const said = JSON.parse(require("fs").readFileSync(0, "utf8"));
const TEN_MINUTES = 600_000, LATENCY = 5, EVENT_EVERY = 10_000;
const HEARTBEAT_EVERY = 30_000, PONG_TIMEOUT = 30_000, MAX_MISSED = 3;
const RECONNECT_AFTER = 1_000, MAX_TRIES = 5, LONGEST_WAIT = 30_000;
// Whatever else arrives is not looked at.
const RELEVANT = [
  "market_data", "indicators", "signal", "signals", "session_status", "session_update", "strategy_status",
  "strategy_update", "health_check", "comprehensive_health_check", "data", "execution_result", "status",
  "state_change", "instance_added", "instance_removed", "full_update",
];
const FOR_LISTENERS = ["state_change", "instance_added", "instance_removed", "full_update"];

// ── A clock on which timers fire in the order of their time, then of their making. A timer that repeats is made anew
// ── when it has fired, as in browsers and in Node.
let now = 0, made = 0;
const timers = new Map();
const after = (wait, act) => { timers.set(++made, { at: now + wait, act }); return made; };
const every = (wait, act) => {
  const handle = {};
  const arm = () => (handle.timer = after(wait, () => { act(); if (!handle.ended) arm(); }));
  arm();
  return handle;
};
const cancel = timer => {
  if (typeof timer === "object" && timer) { timer.ended = true; timer = timer.timer; }
  timers.delete(timer);
};
function run(until) {
  for (;;) {
    let next = null;
    for (const [id, { at }] of timers) if (at <= until && (next === null || at < timers.get(next).at)) next = id;
    if (next === null) break;
    const { at, act } = timers.get(next);
    timers.delete(next);
    now = at;
    act();
  }
}

// ── The daemon's side: it says what it said, a moment later.
const told = { sockets: 0, missed: 0, early: 0, updates: 0, lost: 0 };
let published = 0, heard = 0;
class Socket {
  constructor() {
    told.sockets++;
    this.isOpen = true;
    after(LATENCY, () => this.isOpen && this.onopen());
    after(2 * LATENCY, () => { this.isGreeted = true; this.arrive(said.connected); });
    this.events = every(EVENT_EVERY, () => this.isSubscribed && (published++, this.arrive(said.event)));
  }
  arrive(message) { if (this.isOpen) this.onmessage({ data: JSON.stringify(message) }); }
  send(text) {
    if (!this.isGreeted) told.early++;
    const { type } = JSON.parse(text);
    const answers = { subscribe: said.subscribed, heartbeat: [said.pong] }[type] ?? [];
    after(LATENCY, () => { answers.forEach(answer => this.arrive(answer)); this.isSubscribed ||= type === "subscribe"; });
  }
  close(code) { this.isOpen = false; cancel(this.events); after(LATENCY, () => this.onclose({ code })); }
}

// ── The page.
const active = new Map(), pending = new Map();
let socket = null, isConnected = false, tries = 0, missed = 0, heartbeat = null, pongTimeout = null;

function subscribe(stream, params) {
  active.set(stream, params);
  if (!isConnected) return void pending.set(stream, params);
  send({ type: "subscribe", stream, params });
}
function send(message) {
  if (socket && isConnected) socket.send(JSON.stringify({ ...message, timestamp: new Date(now).toISOString() }));
}
function connect() {
  socket = new Socket();
  socket.onopen = () => (tries = 0);
  socket.onmessage = ({ data }) => take(JSON.parse(data));
  socket.onclose = ({ code }) => {
    isConnected = false;
    stopHeartbeat();
    if (code === 1000 || tries >= MAX_TRIES) return;
    after(Math.min(RECONNECT_AFTER * 2 ** tries, LONGEST_WAIT), () => { tries++; connect(); });
  };
}
function take(message) {
  if (message.type === "status" && message.status === "connected") return greeted();
  if (!isRelevant(message)) return;
  if (FOR_LISTENERS.includes(message.type)) listener(message);
  if (message.type === "status" && message.status === "pong") {
    cancel(pongTimeout);
    pongTimeout = null;
    missed = 0;
  }
}
function isRelevant(message) {
  if (!RELEVANT.includes(message.type)) return false;
  return !message.stream || active.has(message.stream) || pending.has(message.stream);
}
function greeted() {
  isConnected = true;
  for (const [stream, params] of active) send({ type: "subscribe", stream, params });
  pending.clear();
  stopHeartbeat();
  heartbeat = every(HEARTBEAT_EVERY, beat);
}
function beat() {
  if (!isConnected) return;
  cancel(pongTimeout);
  send({ type: "heartbeat" });
  pongTimeout = after(PONG_TIMEOUT, () => {
    told.missed++;
    if (++missed >= MAX_MISSED) reconnect();
  });
}
function reconnect() {
  const old = socket;
  isConnected = false;
  socket = null;
  stopHeartbeat();
  old.close(1000);
  tries = 0;
  after(RECONNECT_AFTER, connect);
}
function stopHeartbeat() {
  cancel(heartbeat);
  cancel(pongTimeout);
  heartbeat = pongTimeout = null;
  missed = 0;
}
function listener({ type }) {
  if (type === "full_update") told.updates++;
  else heard++;
}

subscribe("state_machines", { session_id: "exec_1" });
connect();
run(TEN_MINUTES);
told.lost = published - heard;
if (published < 50) throw new Error(`only ${published} events`);
console.log(JSON.stringify(told));
