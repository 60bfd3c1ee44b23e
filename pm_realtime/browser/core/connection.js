import { CloseCode, mayReconnect } from "../constants.js";
import { createBackoff } from "./backoff.js";
import { observePage } from "./page.js";
import { openSharedSocket } from "./shared_loader.js";
import { ABNORMAL_CLOSE, openSocket } from "./socket.js";

/** A connection that ends sooner counts as one more failed attempt in a row. */
const STABLE_AFTER_MS = 5_000;

/** A loss so soon after waking up happened during the sleep. */
const JUST_WOKEN_MS = 5_000;

/**
 * Keeps one socket open: if it is lost, opens the next.
 *
 * Hooks: `onConnected(envelope)` once for each connection, with `status` already "connected";
 * `onFrame(envelope)` for each frame, the `connected` one included; `onHealthy()` when messages
 * that `send` refused may be sent; `onStatus(detail)`; `onClose(detail)`, before the status that
 * follows from it. `final` in that detail: the client does not connect again by itself.
 */
export function createConnection(settings, hooks) {
  let socket = null;
  let status = "stopped";
  // Stopped after too many attempts; goes on when the page wakes up.
  let resting = false;
  let attempts = 0;
  let wokenAt = -Infinity;
  let retryTimer = null;
  let stableTimer = null;
  let stopObserving = null;
  // The id of the last connection, and the number of frames that were read on it.
  let resumePosition = [];
  const nextDelay = createBackoff();

  function setStatus(next, detail = {}) {
    status = next;
    hooks.onStatus({ status: next, ...detail });
  }

  function open() {
    clearTimeout(retryTimer);
    socket = (settings.shared ? openSharedSocket : openSocket)({
      shared: settings.shared,
      sharedModule: settings.sharedModule,
      url: resolveUrl(settings.url) + resumePosition,
      protocols: settings.protocols,
      WebSocket: settings.WebSocket ?? globalThis.WebSocket,
      onConnected,
      onFrame,
      onHealthy: hooks.onHealthy,
      onClose: onLost,
      onWake: () => status === "waiting" && attempt(),
    });
    stopObserving ??= observePage({ onWake, onOffline: () => socket?.suspect(false), onHide });
    setStatus("connecting");
  }

  function attempt() {
    try {
      open();
    } catch (error) {
      if (status === "stopped" && !resting) throw error;
      onLost(ABNORMAL_CLOSE, error.message, error);
    }
  }

  function onConnected(envelope) {
    clearTimeout(stableTimer);
    stableTimer = setTimeout(() => {
      attempts = 0;
    }, STABLE_AFTER_MS);
    status = "connected";
    resumePosition = [envelope.payload?.connectionId, 0];
    // Before the handlers of the page, so that their messages come after the rooms and the queue.
    hooks.onConnected(envelope);
    if (status === "connected") setStatus("connected");
    if (status === "connected") hooks.onFrame(envelope);
  }

  function onFrame(envelope) {
    resumePosition[1] += status === "connected";
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
      // After a sleep this client comes back alone, so it need not wait for a random time.
      const atOnce = attempts === 0 && Date.now() - wokenAt < JUST_WOKEN_MS;
      const drawn = nextDelay(attempts, settings.reconnectDelay);
      const delay = atOnce ? 0 : drawn;
      attempts += 1;
      retryTimer = setTimeout(attempt, delay);
      settle("waiting", { code, reason, delay });
    }
  }

  function settle(next, rest) {
    const final = next === "stopped" && !rest.resting;
    if (final) stop();
    status = next;
    resting = rest.resting;
    const name = Object.keys(CloseCode).find((key) => CloseCode[key] === rest.code) ?? null;
    hooks.onClose({ final, willReconnect: next === "waiting", name, ...rest });
    // A handler of ":close" may have called connect().
    if (status === next && resting === rest.resting) setStatus(next, rest);
  }

  function drop() {
    clearTimeout(retryTimer);
    clearTimeout(stableTimer);
    socket?.close();
    socket = null;
  }

  function stop() {
    stopObserving?.();
    stopObserving = null;
    resumePosition = [];
  }

  function onWake() {
    wokenAt = Date.now();
    if (status === "connected") {
      socket.suspect(true);
    } else {
      attempts = 0;
      if (status !== "connecting") attempt();
    }
  }

  /** Browsers keep no page with an open socket in the back-forward cache. */
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

    /**
     * Says if it was sent. If not, the caller keeps it until `onHealthy` or `onConnected`. `urgent`
     * messages are sent even while the connection is suspect.
     */
    send: (envelope, urgent) => status === "connected" && socket.send(envelope, urgent),
  };
}

/** The WebSocket address; a path, or nothing, is on the page's own host. */
function resolveUrl(url) {
  const base = globalThis.location?.href;
  if (!url && !base) throw new TypeError("Outside a page createRealtime needs the option `url`.");
  const resolved = new URL(url ?? "/api/ws", base);
  resolved.protocol = resolved.protocol.replace("http", "ws");
  resolved.search += `${resolved.search && "&"}resume=`;
  return resolved.href;
}
