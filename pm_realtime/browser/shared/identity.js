import { openBufferedSocket } from "./buffered_socket.js";
import { requestLock } from "./locks.js";

/**
 * Asks the server which user it takes this page for, with a short connection. The page may be for
 * another user than the tabs that share a socket already, and no script can see the session.
 *
 * Tabs ask one after another, so that a browser never has more than two connections. If tabs share
 * a socket already, the request has the parameter `who`: the server then does not count the
 * connection, so it cannot push out one of another browser.
 *
 * `onUser({ userId, socket, done })`: `socket` is the one that asked, to be used or closed before
 * `done()` lets the next tab ask; null if it had `who`. `onFailed(code, reason, error)`: there was
 * no connection. `onDenied()`: the browser gives no locks. The result has `cancel()`, and
 * `reopen()` as a socket has.
 */
export function identify({ endpoint, readPosition, locks, onUser, onFailed, onDenied }) {
  let socket = null;
  let over = false;
  const lock = requestLock(locks, `pm_realtime who ${endpoint.url}`, {
    onDenied,
    async onGranted() {
      const onlyAsks = await isShared(locks, endpoint);
      if (!over) ask(onlyAsks);
    },
  });

  function ask(onlyAsks) {
    const { url } = endpoint;
    const question = { ...endpoint, url: `${url}${url.includes("?") ? "&" : "?"}who=` };
    socket = openBufferedSocket(onlyAsks ? question : { ...endpoint, readPosition });
    socket.listen({
      onConnected({ payload }) {
        // Later frames are for the next listener.
        socket.listen(null);
        if (onlyAsks) socket.close();
        const userId = payload?.userId ?? null;
        onUser({ userId, socket: onlyAsks ? null : socket, done: lock.release });
      },
      onFrame() {},
      onClose(...why) {
        lock.release();
        onFailed(...why);
      },
    });
  }

  return {
    cancel() {
      over = true;
      lock.release();
      socket?.close();
    },

    reopen: () => socket?.reopen(),
  };
}

/** Says if a tab of this browser leads a socket of some user. */
async function isShared(locks, { url }) {
  try {
    const { held } = await locks.query();
    const prefix = `pm_realtime ${url} user `;
    return held.some(({ name }) => name.startsWith(prefix) && name.endsWith(" leader"));
  } catch {
    return false;
  }
}
