import { CloseCode, MessageType, mayReconnect } from "../constants.js";
import { createBackoff } from "./backoff.js";
import { createGoingAway, STABLE_AFTER_MS } from "./going_away.js";
import { hasAddress, isOffline, observePage, pageAddress } from "./page.js";
import { openSharedSocket } from "./shared_loader.js";
import { ABNORMAL_CLOSE, openSocket } from "./socket.js";

/** A loss so soon after waking up happened during the sleep. */
const JUST_WOKEN_MS = 5_000;

const NO_ADDRESS =
  "Outside a page createRealtime needs the option `url`, with an address such as " +
  "wss://example.com/api/ws.";

/** How often a client that has no network looks if there is one, in case no event says so. */
const OFFLINE_CHECK_MS = 1_000;

/**
 * Keeps one socket open: if it is lost, opens the next.
 *
 * Hooks: `onConnected(envelope)` once for each connection, with `status` already "connected";
 * `onFrame(envelope)` for each frame, the `connected` one included; `onHealthy()` when messages
 * that `send` refused may be sent; `onStatus(detail)`; `onClose(detail)`, before the status that
 * follows from it. `final` in that detail: the client does not connect again by itself. `onHide()`
 * when the user leaves the page. `readPosition(url)` returns where the next connection goes on, as
 * `handshakeUrl` wants it.
 */
export function createConnection(settings, hooks) {
  let socket = null;
  let status = "stopped";
  // Stopped after too many attempts; goes on when the page wakes up.
  let resting = false;
  // Stopped by a newer connection of the user; goes on when the page becomes visible.
  let replaced = false;
  // The server can be reached although the browser says that it is offline, as on localhost.
  let reachableOffline = false;
  let attempts = 0;
  let connectedAt = Infinity;
  let wokenAt = -Infinity;
  let retryTimer = null;
  let stableTimer = null;
  let stopObserving = null;
  const nextDelay = createBackoff();
  const goingAway = createGoingAway();

  function setStatus(next, detail = {}) {
    status = next;
    hooks.onStatus({ status: next, ...detail });
  }

  function open(onlyFollows) {
    clearTimeout(retryTimer);
    connectedAt = Infinity;
    const url = resolveUrl(settings.url);
    socket = (settings.shared ? openSharedSocket : openSocket)({
      shared: settings.shared,
      sharedModule: settings.sharedModule,
      onlyFollows,
      url,
      readPosition: () => hooks.readPosition(url),
      protocols: settings.protocols,
      WebSocket: settings.WebSocket ?? globalThis.WebSocket,
      onConnected,
      onFrame,
      onHealthy: hooks.onHealthy,
      onClose: onLost,
      onUp,
    });
    stopObserving ??= observePage({ onWake, onOffline: () => socket?.suspect(false), onHide });
    replaced = false;
    setStatus("connecting");
  }

  /** Another tab has a socket that this one can share. */
  function onUp() {
    if (status === "waiting" || (status === "stopped" && resting)) retry();
    else if (status === "stopped" && replaced) attempt(true);
  }

  /** An attempt that nobody asked for, as soon as there is a network. */
  function retry() {
    clearTimeout(retryTimer);
    if (isOffline() && !reachableOffline) retryTimer = setTimeout(retry, OFFLINE_CHECK_MS);
    else attempt();
  }

  /** `onlyFollows`: with the socket of another tab only, as a new one would push out another. */
  function attempt(onlyFollows = false) {
    try {
      open(onlyFollows);
    } catch (error) {
      if (status === "stopped" && !resting && !replaced) throw error;
      onLost(ABNORMAL_CLOSE, error.message, error);
    }
  }

  function onConnected(envelope) {
    clearTimeout(stableTimer);
    stableTimer = setTimeout(() => {
      attempts = 0;
    }, STABLE_AFTER_MS);
    status = "connected";
    connectedAt = Date.now();
    reachableOffline ||= isOffline();
    // Before the handlers of the page, so that their messages come after the rooms and the queue.
    hooks.onConnected(envelope);
    if (status === "connected") setStatus("connected");
    if (status === "connected") hooks.onFrame(envelope);
  }

  function onFrame(envelope) {
    // Only the first frame says who this is.
    if (envelope.type !== MessageType.CONNECTED) hooks.onFrame(envelope);
  }

  function onLost(code, reason, error) {
    clearTimeout(stableTimer);
    socket = null;
    const awayDelay = goingAway.delay(code, Date.now() - connectedAt, settings.reconnectDelay);
    if (error || !settings.reconnect || !mayReconnect(code)) {
      replaced = !error && settings.reconnect && code === CloseCode.REPLACED;
      settle("stopped", { code, reason, ...(error && { error }) });
    } else if (awayDelay !== null) {
      wait(awayDelay, code, reason);
    } else if (attempts >= settings.maxReconnectAttempts) {
      settle("stopped", { code, reason, resting: true });
    } else {
      // After a sleep this client comes back alone, so it need not wait for a random time.
      const atOnce = attempts === 0 && Date.now() - wokenAt < JUST_WOKEN_MS;
      const drawn = nextDelay(attempts, settings.reconnectDelay);
      const delay = atOnce ? 0 : drawn;
      attempts += 1;
      wait(delay, code, reason);
    }
  }

  function wait(delay, code, reason) {
    retryTimer = setTimeout(retry, delay);
    settle("waiting", { code, reason, delay });
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
    if (replaced) return;
    stopObserving?.();
    stopObserving = null;
  }

  function onWake({ shown, online }) {
    // A page that stays visible would push out the connection that has replaced its own.
    if (replaced && !shown) return;
    wokenAt = Date.now();
    if (status === "connected") {
      socket.suspect(true);
    } else {
      attempts = 0;
      if (status !== "connecting") retry();
      else if (online) socket.reopen();
    }
  }

  /** Browsers keep no page with an open socket in the back-forward cache. */
  function onHide() {
    const left = socket;
    drop();
    hooks.onHide();
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
      replaced = false;
      if (status === "stopped" && !resting) {
        stop();
        return;
      }
      settle("stopped", { code: 1000, reason: "" });
    },

    /**
     * Says if it was sent. If not, the caller keeps it until `onHealthy` or `onConnected`. `urgent`
     * messages are sent even while the connection is suspect. With a `replyType`, the caller sends it
     * again on the next connection if that is necessary.
     */
    send: (...command) => status === "connected" && socket.send(...command),

    /** Asks the server if it is there: `onHealthy` comes, or the connection counts as lost. */
    suspect: () => status === "connected" && socket.suspect(false),
  };
}

/** The WebSocket address; a path, or nothing, is on the page's own host. */
function resolveUrl(url) {
  if (!hasAddress(url)) throw new TypeError(NO_ADDRESS);
  const resolved = new URL(url ?? "/api/ws", pageAddress());
  resolved.protocol = resolved.protocol.replace("http", "ws");
  return resolved.href;
}
