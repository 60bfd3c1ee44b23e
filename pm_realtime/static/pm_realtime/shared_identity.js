import { openLink } from "./shared_link.js";
import { requestLock } from "./shared_locks.js";

/**
 * Finds out whom the server takes this page for, by a short connection of its own: it may be for
 * another user than the tabs that share a socket already, and no script can see the session.
 *
 * Tabs ask one after another, so that a browser never has more than two connections.
 * `onKnown({ userId, link, done })` gives the socket that asked, to be used or closed before
 * `done()` lets the next tab ask; `onFailed(code, reason, error)` comes where there was no
 * connection, `onDenied()` where tabs cannot share one. Returns what cancels it.
 */
export function identify({ place, locks, onKnown, onFailed, onDenied }) {
  let link = null;
  const turn = requestLock(locks, `pm_realtime who ${place.url}`, {
    onDenied,
    onGranted() {
      link = openLink(place);
      link.listen({
        onConnected({ payload }) {
          // What follows is for who listens next.
          link.listen(null);
          onKnown({ userId: payload?.userId ?? null, link, done: turn.release });
        },
        onFrame() {},
        onClose(...why) {
          turn.release();
          onFailed(...why);
        },
      });
    },
  });

  return () => {
    turn.release();
    link?.close();
  };
}
