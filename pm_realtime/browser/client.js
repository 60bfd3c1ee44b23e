import { MessageType } from "./constants.js";
import { createConnection } from "./core/connection.js";
import { complete, unsubscribed } from "./core/envelope.js";
import { RealtimeError } from "./core/errors.js";
import { createEvents } from "./core/events.js";
import { createOutbox } from "./core/outbox.js";
import { hasAddress } from "./core/page.js";
import { createPageCursors } from "./core/page_cursors.js";
import { createPosition } from "./core/position.js";
import { createDeferred, ignorable } from "./core/promises.js";
import { createReaders } from "./core/readers.js";
import { createReplies } from "./core/replies.js";
import { createRooms } from "./core/rooms.js";
import { startFromTag } from "./core/singleton.js";
import { createStore } from "./core/store.js";

export { backoffDelay } from "./core/backoff.js";
export { CloseCode, ErrorCode, MessageType, mayReconnect } from "./constants.js";
export { BATCH_SUBPROTOCOL, SUBPROTOCOL } from "./constants.js";
export { LocalErrorCode, RealtimeError } from "./core/errors.js";
export { MAX_QUEUED } from "./core/outbox.js";

const CONNECTION_LOST = "CONNECTION_LOST";
const NOT_CONNECTED = "NOT_CONNECTED";
const DEFAULTS = {
  reconnect: true,
  maxReconnectAttempts: 5,
  reconnectDelay: 1000,
  persist: "own",
};

/** A client of one pm_realtime server. The types are in client.d.ts. */
export function createRealtime(options = {}) {
  const settings = { ...DEFAULTS };
  for (const key in options) settings[key] = options[key] ?? DEFAULTS[key];
  const log = (...details) => settings.debug && console.debug("[realtime]", ...details);
  const events = createEvents();
  const position = createPosition(settings.persist);
  const readers = createReaders({ position, lastNumber: events.lastNumber });
  const replies = createReplies(() => connection.suspect());
  const outbox = createOutbox(transmit);
  const rooms = createRooms({
    ask(payload, deferred) {
      sendNow(MessageType.SUBSCRIBE, payload, MessageType.SUBSCRIBED, deferred);
    },
    leave,
    position,
    pageCursors: createPageCursors(),
    readers,
  });
  let identity = null;
  let lastUser;
  let closeCode = null;
  // For how long the server remembers a message, in ms, so that it can be sent again.
  let idempotencyPeriod = 0;
  // Nothing is queued, because no connection is expected.
  let refusing = false;

  const connection = createConnection(settings, {
    onConnected,
    onFrame,
    onHealthy() {
      replies.onHealthy();
      outbox.flush();
    },
    onStatus,
    onClose,
    onHide: position.leave,
    readPosition: position.read,
  });
  const { store, update } = createStore(() => ({
    status: connection.status,
    connected: connection.status === "connected",
    connectionId: identity?.connectionId ?? null,
    userId: identity?.userId ?? null,
    role: identity?.role ?? null,
    closeCode,
  }));

  function onConnected({ payload }) {
    // Tabs that share a socket have a new one without a close between.
    if (identity) onLost();
    identity = payload ?? {};
    closeCode = null;
    idempotencyPeriod = identity.idempotencyPeriod ?? 0;
    // Nothing of this user is lost, as it begins here.
    if (position.connected(identity)) delete identity.recovered;
    const user = identity.userId ?? null;
    // Messages of one user must not be sent in the name of another.
    if (lastUser !== undefined && lastUser !== user) outbox.rejectAll("USER_CHANGED");
    lastUser = user;
    rooms.joinAll();
    outbox.flush();
    update();
    // A subscriber of the store may have disconnected.
    if (identity) events.emit(":open", identity);
  }

  function onFrame(envelope) {
    log("received", envelope);
    const { type, id, payload } = envelope;
    const isUnasked = id === undefined || payload?.reason !== undefined;
    if (type === MessageType.UNSUBSCRIBED && isUnasked) rooms.forget(payload?.room, true);
    if (type === MessageType.SUBSCRIBED && isUnasked) position.startRoom(payload?.room, payload);
    replies.settle(envelope);
    const isFor = type === MessageType.GAP ? onGap(envelope) : readers.of(envelope);
    if (!isFor) return;
    // Before the handlers, as they may connect anew. It is stored after them.
    position.note(envelope);
    // These types would be confused with the client's own events.
    if (!type.startsWith(":") && type !== "*") events.emit(type, envelope, isFor);
    events.emit("*", envelope, isFor);
  }

  function onGap(envelope) {
    const { room, to } = envelope;
    const isFor = readers.ofGap(envelope);
    events.emit(":gap", room === undefined ? { to } : { room }, isFor);
    return isFor;
  }

  function onStatus(detail) {
    log("status", detail);
    if (detail.status === "connecting") refusing = false;
    update();
    events.emit(":status", detail);
  }

  function onClose({ final, ...detail }) {
    identity = null;
    closeCode = detail.code;
    if (final) refuseAll();
    else onLost();
    update();
    events.emit(":close", detail);
  }

  /** Messages without an answer are sent again on the next connection, before newer ones. */
  function onLost() {
    outbox.sendAgain(replies.takeRepeatable());
    rooms.connectionLost();
  }

  function refuseAll() {
    refusing = true;
    for (const each of [replies, rooms, outbox]) each.rejectAll(NOT_CONNECTED);
  }

  function transmit(item, urgent = false) {
    const { envelope, replyType, deferred } = item;
    if (!connection.send(envelope, urgent)) return false;
    log("sent", envelope);
    item.expiresAt ??= Date.now() + idempotencyPeriod;
    item.isRepeatable = replyType === MessageType.MESSAGE && idempotencyPeriod > 0;
    if (replyType) replies.sent(item);
    else deferred.resolve();
    return true;
  }

  /** `start(item)` sends a command; `deferred` rejects if JSON cannot write it. */
  function command(envelope, replyType, start, deferred = createDeferred()) {
    try {
      if (typeof envelope?.type !== "string") throw new TypeError("An envelope needs a type.");
      // A copy, because the page may change its objects while the message is queued.
      const written = JSON.parse(JSON.stringify(complete(envelope)));
      start({ envelope: written, replyType, deferred });
    } catch (error) {
      deferred.reject(error);
    }
    return deferred.promise;
  }

  /** Sends, or queues until there is a connection. */
  function post(envelope, replyType) {
    return command(envelope, replyType, (item) => {
      if (refusing) item.deferred.reject(new RealtimeError(NOT_CONNECTED));
      else outbox.push(item);
    });
  }

  /** Sends on the present connection, or rejects. */
  function sendNow(type, payload, replyType, deferred) {
    const start = (item) => {
      if (transmit(item, true)) return;
      const code = connection.status === "connected" ? CONNECTION_LOST : NOT_CONNECTED;
      item.deferred.reject(new RealtimeError(code));
    };
    return command({ type, payload }, replyType, start, deferred);
  }

  /** Leaves the room, for all who have subscribed to it. */
  function leave(room) {
    rooms.forget(room);
    const left = sendNow(MessageType.UNSUBSCRIBE, { room }, MessageType.UNSUBSCRIBED);
    return ignorable(
      left.catch((error) => {
        if (![CONNECTION_LOST, NOT_CONNECTED].includes(error.code)) throw error;
        return unsubscribed(room);
      }),
    );
  }

  const realtime = {
    get rooms() {
      return rooms.names;
    },
    store,

    connect: connection.connect,

    disconnect() {
      refuseAll();
      connection.disconnect();
    },

    send: (envelope) => post(envelope),

    sendMessage: (type, payload) => realtime.send({ type, payload }),

    sendToRoom(room, content) {
      return post({ type: MessageType.MESSAGE, payload: { room, content } }, MessageType.MESSAGE);
    },

    subscribe: rooms.want,

    unsubscribe: leave,

    ping() {
      const start = performance.now();
      const pong = sendNow(MessageType.PING, undefined, MessageType.PONG);
      return ignorable(pong.then(() => performance.now() - start));
    },

    on: events.on,
    once: events.once,
  };

  for (const key of Object.keys(store.getSnapshot())) {
    Object.defineProperty(realtime, key, { get: () => store.getSnapshot()[key], enumerable: true });
  }
  if (settings.autoConnect && hasAddress(settings.url)) realtime.connect();
  return realtime;
}

startFromTag(createRealtime);
