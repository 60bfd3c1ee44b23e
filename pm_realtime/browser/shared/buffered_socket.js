import { isOf } from "../core/cursors.js";
import { ABNORMAL_CLOSE, openSocket } from "../core/socket.js";

/**
 * The real socket of a browser. Its listener can change. While there is none, frames wait for the
 * next one, which first gets the `connected` frame.
 *
 * A listener has the hooks of `openSocket`. If no socket can be opened, `onClose` says why.
 */
export function openBufferedSocket({ readPosition = () => ({}), ...endpoint }) {
  const early = [];
  let position = {};
  let connected = null;
  let listener = null;

  const tell = (method) => (...details) => {
    if (listener) listener[method](...details);
    else early.push([method, details]);
  };

  const socket = tryToOpen({
    ...endpoint,
    readPosition() {
      position = readPosition();
      return position;
    },
    onConnected(envelope) {
      connected = envelope;
      listener?.onConnected(envelope);
    },
    onFrame(envelope) {
      // Frames before the `connected` one do not belong to this connection.
      if (connected) tell("onFrame")(envelope);
    },
    onClose: tell("onClose"),
    onHealthy: tell("onHealthy"),
  });

  return {
    /** The cursors from which it was asked to go on. The server takes none of another user. */
    get since() {
      return isOf(connected.payload?.userId, position) ? position.since : undefined;
    },

    get healthy() {
      return socket.healthy;
    },

    send: (envelope) => socket.send(envelope, true),

    listen(next) {
      listener = next;
      if (next && connected) next.onConnected(connected);
      while (listener && early.length > 0) {
        const [method, details] = early.shift();
        listener[method](...details);
      }
    },

    /** Closes with `code`; without one, as a client that does not come back. */
    close: (code) => socket.close(code),

    suspect: (woken) => socket.suspect(woken),
    reopen: () => socket.reopen(),
  };
}

function tryToOpen(options) {
  try {
    return openSocket(options);
  } catch (error) {
    options.onClose(ABNORMAL_CLOSE, error.message, error);
    return { healthy: true, send: () => false, close() {}, suspect() {}, reopen() {} };
  }
}
