import { LOST, openSocket } from "../core/socket.js";

/**
 * The real socket of a browser. Its listener can change, and what comes while there is none waits;
 * the next is told of the connection first.
 *
 * `bookmark` is the connection to go on from and how many of its frames were read. A listener has
 * the hooks of `openSocket`; `onFrame` gets the bookmark of each frame along. Where there can be no
 * socket, `onClose` says why.
 */
export function openLink({ url, protocols, WebSocket }, bookmark = []) {
  const early = [];
  let count = 0;
  let connected = null;
  let listener = null;

  const tell = (method) => (...details) => {
    if (listener) listener[method](...details);
    else early.push([method, details]);
  };

  const socket = tryToOpen({
    url: url + bookmark,
    protocols,
    WebSocket,
    onConnected(envelope) {
      connected = envelope;
      listener?.onConnected(envelope);
    },
    onFrame(envelope) {
      // What comes before the connection is not of it.
      if (connected) count += 1;
      tell("onFrame")(envelope, [connected?.payload?.connectionId, count]);
    },
    onClose: tell("onClose"),
    onReady: tell("onReady"),
  });

  return {
    get sure() {
      return socket.sure;
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

    close: (code) => socket.close(code),

    /** Asks the server for a sign of life now. */
    doubt: (woken) => socket.doubt(woken),
  };
}

function tryToOpen(options) {
  try {
    return openSocket(options);
  } catch (error) {
    options.onClose(LOST, error.message, error);
    return { sure: true, send: () => false, close() {}, doubt() {} };
  }
}
