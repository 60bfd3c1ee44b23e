import { CloseCode, MessageType } from "./constants.js";
import { createHeartbeat } from "./heartbeat.js";

/** How long a socket may take until its `connected` frame, in ms. */
export const CONNECT_TIMEOUT = 15_000;

/**
 * The life of one WebSocket, from opening to closing.
 *
 * `onClose(code, reason)` comes once, and not at all after `close()`.
 */
export function openSocket({ url, WebSocket, ping, onConnected, onFrame, onClose }) {
  const socket = new WebSocket(url);
  let over = false;
  let heartbeat = null;
  const opening = setTimeout(giveUp, CONNECT_TIMEOUT);

  function end() {
    over = true;
    clearTimeout(opening);
    heartbeat?.stop();
  }

  // A dead network answers no closing handshake, so the close event is not waited for.
  function giveUp() {
    end();
    socket.close(CloseCode.HEARTBEAT_LOST);
    onClose(CloseCode.HEARTBEAT_LOST, "no sign of life");
  }

  function startHeartbeat({ heartbeatInterval, heartbeatTimeout }) {
    if (!(heartbeatInterval > 0 && heartbeatTimeout > 0)) return;
    heartbeat?.stop();
    heartbeat = createHeartbeat({
      interval: heartbeatInterval,
      timeout: heartbeatTimeout,
      ping,
      onSilence: giveUp,
    });
  }

  socket.addEventListener("message", ({ data }) => {
    if (over) return;
    heartbeat?.alive();
    const envelope = decode(data);
    if (!envelope) return;
    if (envelope.type === MessageType.CONNECTED) {
      clearTimeout(opening);
      startHeartbeat(envelope.payload ?? {});
      onConnected(envelope);
    }
    onFrame(envelope);
  });

  socket.addEventListener("close", ({ code, reason }) => {
    if (over) return;
    end();
    onClose(code, reason);
  });

  return {
    send(text) {
      socket.send(text);
    },

    close() {
      if (over) return;
      end();
      socket.close(CloseCode.NORMAL);
    },

    check() {
      heartbeat?.check();
    },
  };
}

function decode(data) {
  try {
    const envelope = JSON.parse(data);
    return typeof envelope?.type === "string" ? envelope : null;
  } catch {
    return null;
  }
}
