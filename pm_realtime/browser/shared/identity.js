import { openLink } from "./buffered_socket.js";
import { requestLock } from "./locks.js";

/**
 * Finds out whom the server takes this page for, by a short connection of its own: it may be for
 * another user than the tabs that share a socket already, and no script can see the session.
 *
 * Tabs ask one after another, so that a browser never has more than two connections. Where tabs
 * share one already, the other only asks (`who`), which the server does not count: it could push
 * out one of another browser. `onKnown({ userId, link, done })` gives the socket that asked, to be
 * used or closed before `done()` lets the next tab ask, or null where it only asked;
 * `onFailed(code, reason, error)` comes where there was no connection, `onDenied()` where tabs
 * cannot share one. Returns what cancels it.
 */
export function identify({ place, locks, onKnown, onFailed, onDenied }) {
  let link = null;
  let over = false;
  const turn = requestLock(locks, `pm_realtime who ${place.url}`, {
    onDenied,
    async onGranted() {
      const onlyAsks = await isShared(locks, place);
      if (!over) ask(onlyAsks);
    },
  });

  function ask(onlyAsks) {
    const question = { ...place, url: `${place.url}${place.url.includes("?") ? "&" : "?"}who=` };
    link = openLink(onlyAsks ? question : place);
    link.listen({
      onConnected({ payload }) {
        // What follows is for who listens next.
        link.listen(null);
        if (onlyAsks) link.close();
        const userId = payload?.userId ?? null;
        onKnown({ userId, link: onlyAsks ? null : link, done: turn.release });
      },
      onFrame() {},
      onClose(...why) {
        turn.release();
        onFailed(...why);
      },
    });
  }

  return () => {
    over = true;
    turn.release();
    link?.close();
  };
}

/** Whether a tab of this browser owns a socket of some user. */
async function isShared(locks, { url }) {
  try {
    const { held } = await locks.query();
    return held.some(({ name }) => name.startsWith(`pm_realtime ${url} user `) && name.endsWith(" owner"));
  } catch {
    return false;
  }
}
