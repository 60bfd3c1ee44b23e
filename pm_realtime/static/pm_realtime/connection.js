import { backoffDelay } from "./backoff.js";
import { CloseCode, mayReconnect } from "./constants.js";
import { watchPage } from "./page.js";
import { openShared } from "./sharing.js";
import { openSocket } from "./socket.js";

/** A connection that ends sooner than this counts as one more failure in a row, in ms. */
export const STABLE_AFTER = 5_000;

// A loss so soon after waking lies back in the sleep: no crowd comes back with this client.
const JUST_WOKEN = 5_000;

export function createConnection(settings, hooks) {
  let socket = null;
  let status = "stopped";
  let resting = false;
  let attempts = 0;
  let wokenAt = -Infinity;
  let retryTimer = null;
  let stableTimer = null;
  let unwatch = null;
  // The last connection, and its frames so far.
  let bookmark = [];

  function setStatus(next, detail = {}) {
    status = next;
    hooks.onStatus({ status: next, ...detail });
  }

  function open() {
    clearTimeout(retryTimer);
    resting = false;
    const openOne = settings.shared ? openShared : openSocket;
    socket = openOne({
      shared: settings.shared,
      url: resolveUrl(settings.url) + bookmark,
      protocols: settings.protocols,
      WebSocket: settings.WebSocket ?? globalThis.WebSocket,
      onConnected,
      onFrame,
      onReady: hooks.onReady,
      onClose: onLost,
    });
    unwatch ??= watchPage({ onWake, onDoubt: () => socket?.doubt(false), onHide });
    setStatus("connecting");
  }

  function onConnected(envelope) {
    clearTimeout(stableTimer);
    stableTimer = setTimeout(() => {
      attempts = 0;
    }, STABLE_AFTER);
    status = "connected";
    bookmark = [envelope.payload?.connectionId, 0];
    // First, so that nothing a handler sends overtakes the rooms and the queue.
    hooks.onConnected(envelope);
    if (status === "connected") setStatus("connected");
    if (status === "connected") hooks.onFrame(envelope);
  }

  function onFrame(envelope) {
    bookmark[1] += status === "connected";
    hooks.onFrame(envelope);
  }

  function onLost(code, reason) {
    clearTimeout(stableTimer);
    socket = null;
    if (!settings.reconnect || !mayReconnect(code)) {
      settle("stopped", { code, reason, final: true });
    } else if (attempts >= settings.maxReconnectAttempts) {
      resting = true;
      settle("stopped", { code, reason, resting: true });
    } else {
      const atOnce = attempts === 0 && Date.now() - wokenAt < JUST_WOKEN;
      const delay = atOnce ? 0 : backoffDelay(attempts, settings.reconnectDelay);
      attempts += 1;
      retryTimer = setTimeout(open, delay);
      settle("waiting", { code, reason, delay });
    }
  }

  function settle(next, { final = false, ...rest }) {
    if (final) stopWatching();
    status = next;
    const name = Object.keys(CloseCode).find((key) => CloseCode[key] === rest.code) ?? null;
    hooks.onClose({ final, willReconnect: next === "waiting", name, ...rest });
    // A handler of the close may have connected anew already.
    if (status === next && (resting || !rest.resting)) setStatus(next, rest);
  }

  function drop() {
    clearTimeout(retryTimer);
    clearTimeout(stableTimer);
    socket?.close();
    socket = null;
  }

  function stopWatching() {
    unwatch?.();
    unwatch = null;
    bookmark = [];
  }

  function onWake() {
    wokenAt = Date.now();
    if (status === "connected") {
      socket.doubt(true);
    } else {
      attempts = 0;
      if (status !== "connecting") open();
    }
  }

  // A page with an open socket is not kept for the way back.
  function onHide() {
    const left = socket;
    drop();
    if (left) settle("waiting", { code: 1000, reason: "page left", delay: 0 });
  }

  return {
    get status() {
      return status;
    },

    connect() {
      if (status === "connecting" || status === "connected") return;
      attempts = 0;
      open();
    },

    disconnect() {
      drop();
      stopWatching();
      if (status === "stopped" && !resting) return;
      resting = false;
      settle("stopped", { code: 1000, reason: "", final: true });
    },

    send: (envelope, urgent) => socket?.send(envelope, urgent) ?? false,
  };
}

export function resolveUrl(url) {
  const base = globalThis.location?.href;
  if (!url && !base) throw new TypeError("Outside a page createRealtime needs the option `url`.");
  const resolved = new URL(url ?? "/api/ws", base);
  if (resolved.protocol === "http:") resolved.protocol = "ws:";
  if (resolved.protocol === "https:") resolved.protocol = "wss:";
  resolved.search += `${resolved.search && "&"}resume=`;
  return resolved.href;
}
