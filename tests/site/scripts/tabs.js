import { createRealtime } from "/static/pm_realtime/client.js";

/** A tab that shares its socket. `?rooms=a,b` are its rooms, `?key=` is its option `shared`. */
const query = new URLSearchParams(location.search);

window.sockets = [];
window.seen = [];
window.closes = [];

class Socket extends WebSocket {
  constructor(...parameters) {
    super(...parameters);
    window.sockets.push(this);
  }
}

const realtime = createRealtime({ shared: query.get("key") ?? true, WebSocket: Socket });
window.realtime = realtime;
window.isLeader = () => window.sockets.some(({ readyState }) => readyState === WebSocket.OPEN);
for (const type of ["message", "own", "pushed", "burst", "streamed", "noticed", "notification"]) {
  realtime.on(type, ({ payload, room }) => window.seen.push({ type, room, payload, at: Date.now() }));
}
// What the tab's last page saw last.
window.previous = sessionStorage.getItem("noticed");
realtime.on("noticed", ({ payload }) => sessionStorage.setItem("noticed", payload.n));
window.gaps = [];
realtime.on(":gap", (stream) => window.gaps.push(stream));
realtime.on(":close", ({ code, willReconnect }) => window.closes.push({ code, willReconnect }));

const rooms = query.get("rooms");
window.joined = Promise.all((rooms ? rooms.split(",") : []).map((room) => realtime.subscribe(room)));
realtime.connect();

/** Sends a number to the room each 100 ms, from 0 on. */
window.startSending = (room) => {
  window.sentCount = 0;
  window.refused = [];
  window.sending = setInterval(() => {
    const number = window.sentCount;
    window.sentCount += 1;
    realtime.sendToRoom(room, number).catch(({ code }) => window.refused.push([number, code]));
  }, 100);
};
