/**
 * One socket for all tabs of one origin and user.
 *
 * How it works: one tab, the leader, holds the leader's lock and has the real socket. Every tab,
 * the leader's own included, has a follower, which keeps sent commands until they are answered. The
 * leader's router decides which tab gets which frame. Tabs talk over a BroadcastChannel.
 *
 * Each tab also holds a lock of its own. The leader waits for it, and gets it when the tab is gone.
 * A leader whose page hangs loses its lock to another tab (liveness.js), and has to notice that
 * before it acts again (fencing.js).
 *
 * Why Web Locks and BroadcastChannel and not a SharedWorker: Chrome for Android has none, and its
 * script must come from the page's own origin, which excludes a CDN. The browser passes a lock on
 * at the moment its tab closes or crashes, so that no tab has to guess from silence. Chrome freezes
 * no tab that holds a lock. Both work under a Content-Security-Policy of
 * `default-src 'self'`, in Safari from 15.4, Chrome and Edge from 85, Firefox from 96. Older ones,
 * and pages on plain http, except localhost, have no locks: there each tab has a socket of its own.
 */
import { CloseCode, mayReconnect } from "./constants.js";
import { ABNORMAL_CLOSE, openSocket } from "./core/socket.js";
import { identify } from "./shared/identity.js";
import { createTab } from "./shared/tab.js";
import { waitForSocket } from "./shared/wait.js";

// By page, the user that the server took it for. There is one page, but tests have many.
const users = new WeakMap();

// By client, identified by its hook, the function that ends its wait for another tab's socket.
const waits = new WeakMap();

/** Says if tabs can share a socket in this browser, on this page. */
export function canShare(page = globalThis) {
  try {
    // Some browsers have the class, but let no page without storage use it.
    new page.BroadcastChannel("pm_realtime").close();
    return Boolean(page.navigator.locks);
  } catch {
    return false;
  }
}

const mayReturn = (code) => mayReconnect(code) || code === CloseCode.REPLACED;

/**
 * This tab's end of the shared socket, with the interface of `openSocket`.
 *
 * `shared` is the client's option: true, or a text that only pages of one user have. `onUp()`
 * comes after `onClose` when another tab has a socket again. With `onlyFollows`, the tab ends with
 * 4502 if there is no such socket any more. If the browser refuses a lock, the tab opens a socket of
 * its own.
 */
export function joinSharedSocket(options, page = globalThis) {
  if (!canShare(page)) return openSocket(options);
  const { url, protocols, WebSocket, shared, readPosition } = options;
  const endpoint = { url, protocols, WebSocket };
  const { locks } = page.navigator;
  let tab = null;
  let question = null;
  let over = false;
  waits.get(options.onClose)?.();

  function join(key, found) {
    const name = `pm_realtime ${url} ${key}`;
    const onTabEnd = (code, reason, error) => {
      if (mayReturn(code) && !error) {
        waits.set(options.onClose, waitForSocket(name, options.onUp, page));
      }
      onEnd(code, reason, error);
    };
    const hooks = { onEnd: onTabEnd, onDenied: connectAlone };
    tab = createTab({ ...options, ...found, name, endpoint, ...hooks }, page);
  }

  /** A frozen tab must not keep the others waiting for their turn to ask. */
  function freeze() {
    question.cancel();
    onEnd(ABNORMAL_CLOSE, "The tab was frozen while it connected.");
  }

  function stopAsking() {
    page.removeEventListener?.("freeze", freeze, true);
  }

  function onUser(found) {
    stopAsking();
    users.set(page, found.userId);
    join(`user ${JSON.stringify(found.userId)}`, found);
  }

  function connectAlone() {
    stopAsking();
    try {
      tab = openSocket({ ...options, onClose: onEnd });
    } catch (error) {
      onEnd(ABNORMAL_CLOSE, error.message, error);
    }
  }

  function onEnd(code, reason, error) {
    if (over) return;
    over = true;
    stopAsking();
    if (!mayReturn(code)) users.delete(page);
    options.onClose(code, reason, error);
  }

  if (shared !== true) join(`key ${shared}`);
  else if (users.has(page)) onUser({ userId: users.get(page) });
  else {
    question = identify({ endpoint, readPosition, locks, onUser, onFailed: onEnd, onDenied: connectAlone });
    page.addEventListener?.("freeze", freeze, true);
  }

  return {
    healthy: true,
    send: (...command) => !over && (tab?.send(...command) ?? false),

    close() {
      if (over) return;
      over = true;
      // The next connection of this page may be another user's.
      users.delete(page);
      stopAsking();
      if (tab) tab.close();
      else question.cancel();
    },

    suspect: (woken) => tab?.suspect(woken),
    reopen: () => (tab ?? question).reopen(),
  };
}
