// uWebSockets on Node.js, by the npm package `uwebsockets`: each connection says `s:TOPIC` to subscribe or `p:TOPIC:PAYLOAD` to publish.
const uWS = require("uwebsockets");

const app = uWS.App();
const decoder = new TextDecoder();
app.ws("/*", {
  compression: uWS.DISABLED,
  idleTimeout: 0,
  sendPingsAutomatically: false,
  maxBackpressure: 1 << 30, // nobody is left out
  message(socket, bytes) {
    const text = decoder.decode(bytes);
    if (text.charCodeAt(0) === 112) {
      const end = text.indexOf(":", 2);
      app.publish(text.slice(2, end), text.slice(end + 1), false);
    } else {
      socket.subscribe(text.slice(2));
      socket.send("ok", false);
    }
  },
});
app.listen("127.0.0.1", 0, (listener) => console.log(`listening on 127.0.0.1:${uWS.us_socket_local_port(listener)}`));
