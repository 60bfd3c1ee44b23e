import { createBackoff } from "./backoff.js";
import { CloseCode, mayReconnect } from "../constants.js";
import { watchPage } from "./page.js";
import { openShared } from "./shared_loader.js";
import { LOST, openSocket } from "./socket.js";

export const STABLE_AFTER = 5_000;

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
  // The last connection, and its frames.
  let bookmark = [];
  const nextDelay = createBackoff();

  function setStatus(next, detail = {}) {
    status = next;
    hooks.onStatus({ status: next, ...detail });
  }

  function open() {
    clearTimeout(retryTimer);
    socket = (settings.shared ? openShared : openSocket)({
      shared: settings.shared,
      url: resolveUrl(settings.url) + bookmark,
      protocols: settings.protocols,
      WebSocket: settings.WebSocket ?? globalThis.WebSocket,
      onConnected,
      onFrame,
      onReady: hooks.onReady,
      onClose: onLost,
      onWake: () => status === "waiting" && attempt(),
    });
    unwatch ??= watchPage({ onWake, onDoubt: () => socket?.doubt(false), onHide });
    setStatus("connecting");
  }

  function attempt() {
    try {
      open();
    } catch (error) {
      if (status === "stopped" && !resting) throw error;
      onLost(LOST, error.message, error);
    }
  }

  function onConnected(envelope) {
    clearTimeout(stableTimer);
    stableTimer = setTimeout(() => {
      attempts = 0;
    }, STABLE_AFTER);
    status = "connected";
    bookmark = [envelope.payload?.connectionId, 0];
    // First, so that no handler's message overtakes the rooms and the queue.
    hooks.onConnected(envelope);
    if (status === "connected") setStatus("connected");
    if (status === "connected") hooks.onFrame(envelope);
  }

  function onFrame(envelope) {
    bookmark[1] += status === "connected";
    hooks.onFrame(envelope);
  }

  function onLost(code, reason, error) {
    clearTimeout(stableTimer);
    socket = null;
    if (error || !settings.reconnect || !mayReconnect(code)) {
      settle("stopped", { code, reason, ...(error && { error }) });
    } else if (attempts >= settings.maxReconnectAttempts) {
      settle("stopped", { code, reason, resting: true });
    } else {
      const atOnce = attempts === 0 && Date.now() - wokenAt < JUST_WOKEN;
      const drawn = nextDelay(attempts, settings.reconnectDelay);
      const delay = atOnce ? 0 : drawn;
      attempts += 1;
      retryTimer = setTimeout(attempt, delay);
      settle("waiting", { code, reason, delay });
    }
  }

  function settle(next, rest) {
    const final = next === "stopped" && !rest.resting;
    if (final) stopWatching();
    status = next;
    resting = rest.resting;
    const name = Object.keys(CloseCode).find((key) => CloseCode[key] === rest.code) ?? null;
    hooks.onClose({ final, willReconnect: next === "waiting", name, ...rest });
    // A handler may have connected anew.
    if (status === next && resting === rest.resting) setStatus(next, rest);
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
      if (status !== "connecting") attempt();
    }
  }

  // With an open socket a page is not kept for the way back.
  function onHide() {
    const left = socket;
    drop();
    if (!left) return;
    const detail = { code: 1000, reason: "page left" };
    if (settings.reconnect) settle("waiting", { ...detail, delay: 0 });
    else settle("stopped", detail);
  }

  return {
    get status() {
      return status;
    },

    connect() {
      if (status === "connecting" || status === "connected") return;
      attempts = 0;
      attempt();
    },

    disconnect() {
      drop();
      if (status === "stopped" && !resting) return;
      settle("stopped", { code: 1000, reason: "" });
    },

    send: (envelope, urgent) => status === "connected" && socket.send(envelope, urgent),
  };
}

export function resolveUrl(url) {
  const base = globalThis.location?.href;
  if (!url && !base) throw new TypeError("Outside a page createRealtime needs the option `url`.");
  const resolved = new URL(url ?? "/api/ws", base);
  resolved.protocol = resolved.protocol.replace("http", "ws");
  resolved.search += `${resolved.search && "&"}resume=`;
  return resolved.href;
}
