import { createRealtime } from "/static/pm_realtime/client.js";

/** One page of many. All pages together keep the messages to their user in `localStorage`. */
const realtime = createRealtime({ maxReconnectAttempts: Infinity });
window.realtime = realtime;
realtime.on("private", ({ payload }) => {
  localStorage.seen = `${localStorage.seen ?? ""}${payload} `;
});
realtime.on(":gap", () => {
  localStorage.seen = `${localStorage.seen ?? ""}gap `;
});
realtime.connect();
