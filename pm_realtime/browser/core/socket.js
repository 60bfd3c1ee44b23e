import { BATCH_SUBPROTOCOL, CloseCode, MessageType, SUBPROTOCOL } from "../constants.js";
import { complete, decode } from "./envelope.js";
import { createHeartbeat } from "./heartbeat.js";

export const LOST = 1006;
export const CONNECT_TIMEOUT = 15_000;

const NORMAL = 1000;
const CLOSING = 2;

export function openSocket({ url, protocols, WebSocket, onConnected, onFrame, onReady, onClose }) {
  const socket = new WebSocket(url, protocols ?? [BATCH_SUBPROTOCOL, SUBPROTOCOL]);
  let over = false;
  let heartbeat = null;
  const opening = setTimeout(giveUp, CONNECT_TIMEOUT);

  function end() {
    over = true;
    clearTimeout(opening);
    heartbeat?.stop();
  }

  // A dead network answers no closing handshake.
  function giveUp() {
    end();
    socket.close(CloseCode.HEARTBEAT_LOST);
    onClose(CloseCode.HEARTBEAT_LOST, "no sign of life");
  }

  function send(envelope) {
    // When closing, it takes everything and sends nothing.
    if (over || socket.readyState >= CLOSING) return false;
    socket.send(JSON.stringify(envelope));
    return true;
  }

  function ping() {
    const envelope = complete({ type: MessageType.PING });
    send(envelope);
    return envelope.id;
  }

  function startHeartbeat({ heartbeatInterval: interval, heartbeatTimeout: timeout }) {
    if (!(interval > 0 && timeout > 0)) return;
    heartbeat?.stop();
    heartbeat = createHeartbeat({ interval, timeout, ping, onSilence: giveUp, onSure: onReady });
  }

  function take(envelope) {
    if (over) return;
    heartbeat?.alive(envelope);
    if (envelope.type === MessageType.CONNECTED) {
      clearTimeout(opening);
      startHeartbeat(envelope.payload ?? {});
      onConnected(envelope);
    } else {
      onFrame(envelope);
    }
  }

  socket.addEventListener("message", ({ data }) => decode(data).forEach(take));

  socket.addEventListener("close", ({ code, reason }) => {
    if (over) return;
    end();
    onClose(code, reason);
  });

  const isSure = () => heartbeat?.sure ?? true;

  return {
    get sure() {
      return isSure();
    },

    send: (envelope, urgent) => (urgent || isSure()) && send(envelope),

    close(code = NORMAL) {
      if (over) return;
      end();
      socket.close(code);
    },

    doubt: (woken) => heartbeat?.doubt(woken),
  };
}
