import { backoffDelay } from "./backoff.js";
import { mayReconnect } from "./constants.js";
import { openSocket } from "./socket.js";

/** A connection that ends sooner than this counts as one more failure in a row, in ms. */
export const STABLE_AFTER = 5_000;

/**
 * Keeps one socket up: opens it, and opens the next when it is lost.
 *
 * `hooks`: `ping()`, `onConnected(envelope)`, `onFrame(envelope)`, `onStatus(detail)` and
 * `onClose(detail)`, where `detail.final` says that no attempt follows by itself.
 */
export function createConnection(settings, hooks) {
  let socket = null;
  let status = "stopped";
  let resting = false;
  let attempts = 0;
  let retryTimer = null;
  let stableTimer = null;

  function setStatus(next, detail = {}) {
    status = next;
    hooks.onStatus({ status: next, ...detail });
  }

  function open() {
    clearTimeout(retryTimer);
    resting = false;
    socket = openSocket({
      url: resolveUrl(settings.url),
      WebSocket: settings.WebSocket ?? globalThis.WebSocket,
      ping: hooks.ping,
      onConnected,
      onFrame: hooks.onFrame,
      onClose: onLost,
    });
    setStatus("connecting");
  }

  function onConnected(envelope) {
    stableTimer = setTimeout(() => {
      attempts = 0;
    }, STABLE_AFTER);
    status = "connected";
    // Before anyone is told, so that nothing a handler sends overtakes the rooms and the queue.
    hooks.onConnected(envelope);
    if (status === "connected") setStatus("connected");
  }

  function onLost(code, reason) {
    clearTimeout(stableTimer);
    socket = null;
    if (!settings.reconnect || !mayReconnect(code)) {
      settle("stopped", { code, reason, final: true, willReconnect: false });
    } else if (attempts >= settings.maxReconnectAttempts) {
      resting = true;
      settle("stopped", { code, reason, final: false, willReconnect: false, resting: true });
    } else {
      const delay = backoffDelay(attempts, settings.reconnectDelay);
      attempts += 1;
      retryTimer = setTimeout(open, delay);
      settle("waiting", { code, reason, final: false, willReconnect: true, delay });
    }
  }

  function settle(next, { final, willReconnect, ...rest }) {
    if (final) stopListening();
    status = next;
    hooks.onClose({ final, willReconnect, ...rest });
    // A handler of the close may have connected anew already.
    if (status === next) setStatus(next, rest);
  }

  function wake() {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (status === "connected") {
      socket.check();
    } else if (status === "waiting" || resting) {
      attempts = 0;
      open();
    }
  }

  function startListening() {
    globalThis.addEventListener?.("online", wake);
    globalThis.document?.addEventListener("visibilitychange", wake);
  }

  function stopListening() {
    globalThis.removeEventListener?.("online", wake);
    globalThis.document?.removeEventListener("visibilitychange", wake);
  }

  return {
    get status() {
      return status;
    },

    /** Whether a socket is there or will come without anyone's asking. */
    get trying() {
      return status !== "stopped" || resting;
    },

    connect() {
      if (status === "connecting" || status === "connected") return;
      attempts = 0;
      open();
      startListening();
    },

    disconnect() {
      clearTimeout(retryTimer);
      clearTimeout(stableTimer);
      stopListening();
      if (status === "stopped" && !resting) return;
      const had = socket;
      socket = null;
      resting = false;
      had?.close();
      settle("stopped", { code: 1000, reason: "", final: true, willReconnect: false });
    },

    send(text) {
      socket.send(text);
    },
  };
}

/** The WebSocket address; a path or nothing is taken on the page's own host. */
export function resolveUrl(url) {
  const base = globalThis.location?.href;
  if (!url && !base) throw new TypeError("Outside a page createRealtime needs the option `url`.");
  const resolved = new URL(url ?? "/api/ws", base);
  if (resolved.protocol === "http:") resolved.protocol = "ws:";
  if (resolved.protocol === "https:") resolved.protocol = "wss:";
  return resolved.href;
}
