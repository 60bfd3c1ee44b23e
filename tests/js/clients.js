import { createRealtime } from "../../pm_realtime/browser/client.js";
import { fakeWebSocket } from "./fake_socket.js";

/** A client whose random waits are at their bound: 1, 2, 4, 8, 16 s. */
export function createClient(t, options = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  t.mock.method(Math, "random", () => 1);
  const WebSocket = fakeWebSocket();
  const realtime = createRealtime({ url: "ws://site.test/", WebSocket, ...options });
  const log = [];
  realtime.on(":status", ({ status }) => log.push(status));
  const closes = [];
  realtime.on(":close", (detail) => closes.push(detail));
  return { WebSocket, realtime, log, closes, tick: (ms) => t.mock.timers.tick(ms) };
}
