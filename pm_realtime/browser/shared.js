/**
 * One socket for all tabs of one origin and user.
 *
 * Why Web Locks and BroadcastChannel, and not a SharedWorker: Chrome for Android has none, and a
 * worker's script must come from the page's own origin, which static files on a CDN do not. A lock
 * is given on by the browser in the instant that its tab closes or crashes, so nothing has to be
 * guessed from silence; and Chrome freezes no tab that holds one. Both work under a
 * Content-Security-Policy of `default-src 'self'`, in Safari from 15.4, Chrome and Edge from 69,
 * Firefox from 96. Pages on plain http (but localhost) have no locks: there each tab has a socket
 * of its own, as it has where this code does not load.
 *
 * How: of the tabs, the one that holds the group's lock is the owner (shared_owner.js) and has the
 * real socket (shared_link.js); each tab, the owner's too, is a member (shared_member.js) that
 * knows what it sent and has no answer to. The owner's books (shared_ledger.js) say which tab is to
 * have which frame. Every tab holds a lock of its own as well, for which the owner waits: it gets
 * it when the tab is gone. An owner whose page hangs is robbed of the lock (shared_watch.js), and
 * has to find that out before it says anything more (shared_guard.js).
 */
import { mayReconnect } from "./constants.js";
import { identify } from "./shared/identity.js";
import { takeSeat } from "./shared/tab.js";
import { awaitSocket } from "./shared/wait.js";
import { LOST, openSocket } from "./core/socket.js";

// By page: whom the server took it for. Of one page there is one; tests have many.
const users = new WeakMap();

// By page, and then by group, where its last seat came to.
const pasts = new WeakMap();

// By client, for which its hook stands, what ends its wait for another tab's socket.
const waits = new WeakMap();

/** Whether this browser, on this page, has what tabs need to share a socket. */
export function canShare(page = globalThis) {
  try {
    // Some give a page without storage the name and nothing behind it.
    new page.BroadcastChannel("pm_realtime").close();
    return Boolean(page.navigator.locks);
  } catch {
    return false;
  }
}

/**
 * This tab's part in the shared socket, with the face of `openSocket`.
 *
 * `shared` is the option of that name: true, or a text that only pages of one user have. Where the
 * browser refuses what sharing needs, it is a socket of this tab's own.
 */
export function joinSocket(options, page = globalThis) {
  if (!canShare(page)) return openSocket(options);
  const { protocols, WebSocket, shared } = options;
  // Without the bookmark of this tab alone.
  const url = options.url.replace(/resume=[^&]*$/, "resume=");
  const place = { url, protocols, WebSocket };
  const { locks } = page.navigator;
  let seat = null;
  let cancel = null;
  let over = false;
  waits.get(options.onClose)?.();

  function sit(key, found) {
    const name = `pm_realtime ${url} ${key}`;
    if (!pasts.has(page)) pasts.set(page, new Map());
    const known = pasts.get(page);
    const past = known.get(name);
    known.delete(name);
    const onSeatEnd = (code, reason, error, left) => {
      if (mayReconnect(code)) known.set(name, left);
      if (mayReconnect(code) && !error) {
        waits.set(options.onClose, awaitSocket(name, options.onWake, page));
      }
      onEnd(code, reason, error);
    };
    const hooks = { onEnd: onSeatEnd, onDenied: goAlone };
    seat = takeSeat({ ...options, ...found, name, place, past, ...hooks }, page);
  }

  // Other tabs wait for their turn to ask, and this one would not end its own.
  function freeze() {
    cancel();
    onEnd(LOST, "The tab was frozen while it connected.");
  }

  function stopAsking() {
    page.removeEventListener?.("freeze", freeze, true);
  }

  function find(found) {
    stopAsking();
    users.set(page, found.userId);
    sit(`user ${JSON.stringify(found.userId)}`, found);
  }

  function goAlone() {
    stopAsking();
    try {
      seat = openSocket({ ...options, onClose: onEnd });
    } catch (error) {
      onEnd(LOST, error.message, error);
    }
  }

  function onEnd(code, reason, error) {
    if (over) return;
    over = true;
    stopAsking();
    if (!mayReconnect(code)) users.delete(page);
    options.onClose(code, reason, error);
  }

  if (shared !== true) sit(`key ${shared}`);
  else if (users.has(page)) find({ userId: users.get(page) });
  else {
    cancel = identify({ place, locks, onKnown: find, onFailed: onEnd, onDenied: goAlone });
    page.addEventListener?.("freeze", freeze, true);
  }

  return {
    sure: true,
    send: (envelope, urgent) => !over && (seat?.send(envelope, urgent) ?? false),

    close() {
      if (over) return;
      over = true;
      // Whoever connects anew may be somebody else.
      users.delete(page);
      stopAsking();
      if (seat) seat.close();
      else cancel();
    },

    doubt: (woken) => seat?.doubt(woken),
  };
}
