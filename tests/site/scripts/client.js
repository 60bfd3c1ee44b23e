import { createRealtime } from "/static/pm_realtime/client.js";

/**
 * A tab with a socket of its own. `?rooms=a,b` are its rooms, `?attempts=` is its option
 * `maxReconnectAttempts`. It shows the messages that it gets.
 */
const query = new URLSearchParams(location.search);
const rooms = query.get("rooms");
const maxReconnectAttempts = Number(query.get("attempts") ?? Infinity);

window.sockets = 0;
window.seen = [];
window.opens = [];
window.closes = [];
window.refused = [];

class Socket extends WebSocket {
  constructor(...parameters) {
    super(...parameters);
    window.sockets += 1;
  }
}

const realtime = createRealtime({ maxReconnectAttempts, WebSocket: Socket });
window.realtime = realtime;
for (const type of ["message", "own", "pushed", "streamed", "private"]) {
  realtime.on(type, ({ payload }) => {
    const content = type === "message" ? payload.content : payload;
    window.seen.push([type, content]);
    document.body.append(`${type} ${JSON.stringify(content)}`);
  });
}
realtime.on(":open", ({ userId }) => window.opens.push({ userId, at: Date.now() }));
realtime.on(":close", ({ code, name, willReconnect }) => {
  window.closes.push({ code, name, willReconnect });
});

window.sendMessage = (content) => {
  realtime.sendToRoom("open", content).catch(({ code }) => window.refused.push([content, code]));
};

window.joined = Promise.all((rooms ? rooms.split(",") : []).map((room) => realtime.subscribe(room)));
realtime.connect();
