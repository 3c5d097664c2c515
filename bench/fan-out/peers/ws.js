// `ws` on Node.js: each connection says `s:TOPIC` to subscribe or `p:TOPIC:PAYLOAD` to publish.
const { WebSocketServer } = require("ws");

const topics = new Map();
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 4096, perMessageDeflate: false });
server.on("listening", () => console.log(`listening on 127.0.0.1:${server.address().port}`));
server.on("connection", (socket) => {
  socket.on("message", (bytes) => {
    const text = bytes.toString();
    if (text.charCodeAt(0) === 112) {
      const end = text.indexOf(":", 2);
      const payload = text.slice(end + 1);
      for (const subscriber of topics.get(text.slice(2, end)) ?? []) subscriber.send(payload);
    } else {
      const name = text.slice(2);
      if (!topics.has(name)) topics.set(name, new Set());
      const subscribers = topics.get(name);
      subscribers.add(socket);
      socket.on("close", () => subscribers.delete(socket));
      socket.send("ok");
    }
  });
});
