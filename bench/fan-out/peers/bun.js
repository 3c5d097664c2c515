// Bun: each connection says `s:TOPIC` to subscribe or `p:TOPIC:PAYLOAD` to publish.
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response("a WebSocket is expected", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 0,
    sendPings: false,
    backpressureLimit: 1 << 30, // nobody is left out
    message(socket, text) {
      if (text.charCodeAt(0) === 112) {
        const end = text.indexOf(":", 2);
        server.publish(text.slice(2, end), text.slice(end + 1));
      } else {
        socket.subscribe(text.slice(2));
        socket.send("ok");
      }
    },
  },
});
console.log(`listening on 127.0.0.1:${server.port}`);
