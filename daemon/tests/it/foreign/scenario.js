// What a client does and sees, the same in Node with `ws` and in a browser; every line of it is told at once.

const SIZES = [0, 125, 126, 127, 65535, 65536, 131072];
const MAX_MESSAGE = 131072;

async function run(WebSocket, url, told) {
  const tell = line => fetch(told, { method: "POST", body: line });
  const size = text => new TextEncoder().encode(text).length;
  const ping = id => JSON.stringify({ type: "ping", id });

  async function greeted() {
    const socket = new WebSocket(url, "broadcastd.v1");
    const arrived = [], awaited = [];
    socket.onmessage = ({ data }) => (awaited.length ? awaited.shift()(data) : arrived.push(data));
    socket.onerror = () => {}; // the end says it
    const next = () => (arrived.length ? arrived.shift() : new Promise(done => awaited.push(done)));
    const closed = new Promise(done => {
      socket.onclose = ({ code, reason, wasClean }) => done(`${code} "${reason}" ${wasClean ? "clean" : "unclean"}`);
    });
    const ask = async request => {
      socket.send(request);
      return next();
    };
    const greeting = JSON.parse(await next());
    return { socket, next, ask, closed, greeting };
  }

  const { socket, next, ask, closed, greeting } = await greeted();
  await tell(`open "${socket.protocol}" "${socket.extensions}" ${greeting.data.status}`);

  for (const length of SIZES) {
    const { data, id } = JSON.parse(await ask(length ? ping(`n${length}`).padEnd(length) : ""));
    await tell(`sent ${length}: ${data.status ?? data.code} ${id ?? "-"}`);
  }
  const shortest = size(await ask(ping("")));
  for (const length of [125, 126, 127]) {
    await tell(`came ${size(await ask(ping("x".repeat(length - shortest))))}`);
  }
  const { epoch } = JSON.parse(await ask('{"type":"subscribe","stream":"ticks"}')).data;
  await next(); // the snapshot
  await ask('{"type":"unsubscribe","stream":"ticks"}');
  await ask(JSON.stringify({ type: "subscribe", stream: "ticks", since: { epoch, seq: 0 } }));
  for (let event = 1; event <= 3; event++) {
    const text = await next();
    await tell(`came ${event === 1 ? "the first" : size(text)} ${JSON.parse(text).seq}`);
  }
  await tell(`text ${JSON.parse(await ask(ping("grüße, 10 €, 😀"))).id}`);
  await tell(`binary ${JSON.parse(await ask(new Uint8Array([1, 2, 3]))).data.code}`);

  for (const code of [undefined, 1000, 3000, 4999]) {
    const leaving = await greeted();
    code ? leaving.socket.close(code, "bis später") : leaving.socket.close();
    await tell(`left ${code ?? "without a code"}: ${await leaving.closed}`);
  }
  const long = await greeted();
  long.socket.send(ping("long").padEnd(MAX_MESSAGE + 1));
  await tell(`too long: ${await long.closed}`);
  const both = await greeted();
  both.socket.send(ping("long").padEnd(MAX_MESSAGE + 1));
  both.socket.close(4000, "at the same time");
  await tell(`too long, and left: ${await both.closed}`);
  if (socket.ping) await cuts(socket, ask, next, tell, greeted);

  await tell("ready");
  await tell(`shut down: ${(await closed).replace(/\d+ ms/, "… ms")}`);
  await tell("end");
}

// What no page can do: fragments at every byte with a ping between, and a text that is none.
async function cuts(socket, ask, next, tell, greeted) {
  const text = Buffer.from('{"type":"ping","id":"grüße, 10 €, 😀"}');
  let right = 0;
  for (let at = 0; at <= text.length; at++) {
    const pong = new Promise(done => socket.once("pong", payload => done(payload.toString())));
    socket.send(text.subarray(0, at), { binary: false, fin: false });
    socket.ping("between");
    socket.send(text.subarray(at), { binary: false, fin: true });
    right += (await pong) === "between" && JSON.parse(await next()).id === "grüße, 10 €, 😀";
  }
  await tell(`cuts ${right} of ${text.length + 1}`);
  const bad = await greeted();
  bad.socket.send(Buffer.from([0x61, 0xff]), { binary: false });
  await tell(`no text: ${await bad.closed}`);
}
