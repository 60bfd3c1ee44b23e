// Rooms, as in an application on h3 (Nitro, Nuxt). `node h3_hub.js PORT`
import { plugin as ws } from "crossws/server";
import { H3, defineWebSocketHandler, serve } from "h3";

/** @type {Map<string, Set<import("crossws").Peer>>} */
const rooms = new Map();

const send = (peer, type, payload) =>
  peer.send(JSON.stringify({ type, payload, timestamp: Date.now() }));

const handler = defineWebSocketHandler({
  message(peer, message) {
    const { type, payload } = JSON.parse(message.text());
    const { room, content } = payload;
    if (type === "subscribe") {
      if (!rooms.has(room)) rooms.set(room, new Set());
      rooms.get(room).add(peer);
      send(peer, "subscribed", { room });
    } else if (type === "message") {
      for (const other of rooms.get(room) ?? []) send(other, "message", { room, content });
    }
  },
  close(peer) {
    for (const [room, peers] of rooms) {
      if (peers.delete(peer) && peers.size === 0) rooms.delete(room);
    }
  },
});

const app = new H3();
app.get("/ws", handler);

serve(app, {
  plugins: [ws({})],
  port: Number(process.argv[2]),
  hostname: "127.0.0.1",
  silent: true,
});
