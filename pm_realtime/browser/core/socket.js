import { BATCH_SUBPROTOCOL, CloseCode, MessageType, SUBPROTOCOL } from "../constants.js";
import { handshakeUrl } from "./cursors.js";
import { complete, decode } from "./envelope.js";
import { createHeartbeat } from "./heartbeat.js";

/** The code that browsers give to a connection that broke or could not be opened. */
export const ABNORMAL_CLOSE = 1006;

/** How long a socket may take to open and send its `connected` frame. */
const CONNECT_TIMEOUT_MS = 15_000;

const NO_WEBSOCKET =
  "There is no WebSocket here. Pass a class, such as that of the package `ws`, in the option " +
  "`WebSocket`. Node has one from version 22.";
const NORMAL_CLOSE = 1000;
const CLOSING = 2;

/**
 * One WebSocket, from opening to closing. Throws the errors of the `WebSocket` constructor.
 *
 * `readPosition()` returns where the connection goes on, as `handshakeUrl` wants it.
 * `onConnected(envelope)` gets the `connected` frame, which is the first, `onFrame(envelope)` all
 * others.
 * `onHealthy()` comes when messages that `send` refused may be sent. `onClose(code, reason)` comes
 * once, and not at all after `close()`.
 */
export function openSocket(options) {
  const { url, protocols, WebSocket, onConnected, onFrame, onHealthy, onClose } = options;
  const { readPosition = () => ({}) } = options;
  if (typeof WebSocket !== "function") throw new TypeError(NO_WEBSOCKET);
  let socket;
  let opening;
  // The type of the first frame.
  let firstType;
  let over = false;
  let heartbeat = null;
  let hasPinged = false;
  open();

  function open() {
    const address = handshakeUrl(url, readPosition());
    const opened = new WebSocket(address, protocols ?? [BATCH_SUBPROTOCOL, SUBPROTOCOL]);
    opened.addEventListener("message", ({ data }) => {
      if (socket === opened) decode(data).forEach(receive);
    });
    opened.addEventListener("close", ({ code, reason }) => {
      if (over || socket !== opened) return;
      end();
      onClose(code, reason);
    });
    // In Node, an `error` event that nobody handles ends the process. The `close` event says all.
    opened.addEventListener("error", () => {});
    opening = setTimeout(giveUp, CONNECT_TIMEOUT_MS);
    socket = opened;
  }

  function end() {
    over = true;
    clearTimeout(opening);
    heartbeat?.stop();
  }

  function giveUp() {
    end();
    socket.close(CloseCode.HEARTBEAT_LOST);
    // Not in the socket's own event: on a dead network that comes much later.
    onClose(CloseCode.HEARTBEAT_LOST, "no sign of life");
  }

  function send(envelope) {
    // A socket that is closing accepts messages and drops them.
    if (over || socket.readyState >= CLOSING) return false;
    socket.send(JSON.stringify(envelope));
    return true;
  }

  function ping() {
    const envelope = complete({ type: MessageType.PING });
    hasPinged = true;
    send(envelope);
    return envelope.id;
  }

  function startHeartbeat({ heartbeatInterval: interval, heartbeatTimeout: timeout }) {
    if (!(interval > 0 && timeout > 0)) return;
    heartbeat?.stop();
    heartbeat = createHeartbeat({ interval, timeout, ping, onSilence: giveUp, onHealthy });
  }

  function receive(envelope) {
    if (over) return;
    heartbeat?.received(envelope);
    const isFirst = firstType === undefined;
    firstType ??= envelope.type;
    if (isFirst && firstType === MessageType.CONNECTED) {
      clearTimeout(opening);
      startHeartbeat(envelope.payload ?? {});
      onConnected(envelope);
    } else {
      // The server waits for no ping of a client that never pinged. A page that sleeps before its
      // first one would be shown in the room for ever.
      if (heartbeat && !hasPinged && envelope.payload?.presence) ping();
      onFrame(envelope);
    }
  }

  const isHealthy = () => heartbeat?.healthy ?? true;

  return {
    /** False from `suspect()` until the server answers. */
    get healthy() {
      return isHealthy();
    },

    /** Says if it was sent. While the socket is not healthy, only `urgent` messages are. */
    send: (envelope, urgent) => (urgent || isHealthy()) && send(envelope),

    close(code = NORMAL_CLOSE) {
      if (over) return;
      end();
      socket.close(code);
    },

    /** Pings the server. `woken`: the page has slept, so the answer has to come soon. */
    suspect: (woken) => heartbeat?.suspect(woken),

    /** The network is back: an attempt that is under way may hang, so it starts anew. */
    reopen() {
      if (over || firstType !== undefined) return;
      const hanging = socket;
      socket = null;
      clearTimeout(opening);
      // First, as Firefox opens one socket to a server after another.
      hanging.close();
      try {
        open();
      } catch (error) {
        end();
        onClose(ABNORMAL_CLOSE, error.message, error);
      }
    },
  };
}
