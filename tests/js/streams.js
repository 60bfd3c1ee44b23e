/** A client whose server keeps streams: the test plays the server. */
import { createRealtime } from "../../pm_realtime/browser/client.js";
import { fakeWebSocket } from "./fake_socket.js";

/** The cursor of the message `number` of a stream. */
export const at = (number) => `${String(1_700_000_000_000 + number).padStart(13, "0")}-000000`;

export const PERIOD_MS = 300_000;

/** A client that the test connects with `accept()`. Its random waits are at their bound. */
export function createStreams(t, options = {}) {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_700_000_000_000 });
  t.mock.method(Math, "random", () => 1);
  const WebSocket = fakeWebSocket();
  const realtime = createRealtime({ url: "ws://site.test/ws", WebSocket, ...options });
  const seen = [];
  const gaps = [];
  const opens = [];
  realtime.on("news", ({ payload }) => seen.push(payload));
  realtime.on(":gap", (detail) => gaps.push(detail));
  realtime.on(":open", ({ recovered }) => opens.push(recovered));
  const tick = (ms) => t.mock.timers.tick(ms);

  /** The server accepts the newest socket. */
  function accept(payload) {
    const connectionId = `c${WebSocket.all.length}`;
    WebSocket.last.accept({ connectionId, idempotencyPeriod: PERIOD_MS, ...payload });
  }

  function reconnect(payload) {
    WebSocket.last.close();
    tick(WebSocket.all.length * 1000 + 30_000);
    accept(payload);
  }

  /** A message of the stream, with its number as content. */
  function news(number, stream = { to: "user" }) {
    WebSocket.last.frame("news", number, { cursor: at(number), ...stream });
  }

  /** The server answers the last `subscribe`. */
  function grant(payload) {
    const command = WebSocket.last.sentOf("subscribe").at(-1);
    const { room } = command.payload;
    WebSocket.last.reply(command, "subscribed", { room, success: true, ...payload });
  }

  /** The query of the newest socket. */
  function query() {
    const found = Object.fromEntries(new URL(WebSocket.last.url).searchParams);
    return found.since === undefined ? found : { ...found, since: JSON.parse(found.since) };
  }

  realtime.connect();
  return { WebSocket, realtime, seen, gaps, opens, tick, accept, reconnect, news, grant, query };
}

/** The same, connected and without heartbeat. */
export function createConnected(t, payload, options = { maxReconnectAttempts: Infinity }) {
  const parts = createStreams(t, options);
  const accept = (more) => parts.accept({ heartbeatInterval: 0, ...payload, ...more });
  accept();
  const reconnect = (more) => {
    parts.WebSocket.last.close();
    parts.tick(30_000);
    accept(more);
  };
  return { ...parts, accept, reconnect };
}
