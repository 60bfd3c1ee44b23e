import { MessageType } from "./constants.js";
import { createCommands } from "./core/commands.js";
import { createConnection } from "./core/connection.js";
import { unsubscribed } from "./core/envelope.js";
import { createEvents } from "./core/events.js";
import { hasAddress } from "./core/page.js";
import { createPageCursors } from "./core/page_cursors.js";
import { createPosition } from "./core/position.js";
import { createPresences } from "./core/presence.js";
import { ignorable } from "./core/promises.js";
import { createReaders } from "./core/readers.js";
import { createRooms } from "./core/rooms.js";
import { startFromTag } from "./core/singleton.js";
import { addState, createStore } from "./core/store.js";

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
  const rooms = createRooms({
    ask(payload, deferred) {
      commands.sendNow(MessageType.SUBSCRIBE, payload, MessageType.SUBSCRIBED, deferred);
    },
    leave,
    onReleased: () => commands.flush(),
    onJoined: (room, payload) => presences.joined(room, payload?.presence),
    onLeft: (room) => presences.left(room),
    position,
    pageCursors: createPageCursors(),
    readers,
  });
  const commands = createCommands({
    send(envelope, ...options) {
      const isSent = connection.send(envelope, ...options);
      if (isSent) log("sent", envelope);
      return isSent;
    },
    probe: () => connection.suspect(),
    isConnected: () => connection.status === "connected",
    isRetrying: rooms.isRetrying,
  });
  const tellPresence = (replyType) => (payload, deferred) =>
    commands.sendNow(MessageType.PRESENCE, payload, replyType, deferred);
  const presences = createPresences({
    ask: tellPresence(MessageType.PRESENCE),
    write: tellPresence(MessageType.ACK),
    isComing: (room) => rooms.names.includes(room) && !commands.isRefusing(),
  });
  let identity = null;
  let lastUser;
  let closeCode = null;

  const connection = createConnection(settings, {
    onConnected,
    onFrame,
    onHealthy: commands.onHealthy,
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
    // Nothing of this user is lost, as it begins here.
    if (position.connected(identity)) delete identity.recovered;
    const user = identity.userId ?? null;
    const isOther = lastUser !== undefined && lastUser !== user;
    commands.onConnected(identity.idempotencyPeriod ?? 0, isOther);
    if (isOther) presences.forgetAll("USER_CHANGED");
    lastUser = user;
    rooms.joinAll();
    commands.flush();
    update();
    // A subscriber of the store may have disconnected.
    if (identity) events.emit(":open", identity);
  }

  function onFrame(envelope) {
    log("received", envelope);
    const { type, id, payload } = envelope;
    const isUnasked = id === undefined || payload?.reason !== undefined;
    if (type === MessageType.UNSUBSCRIBED && isUnasked) rooms.forget(payload?.room, true);
    if (type === MessageType.SUBSCRIBED && isUnasked) {
      position.startRoom(payload?.room, payload);
      rooms.joinedByServer(payload?.room);
      presences.joined(payload?.room, payload?.presence);
    }
    if (type === MessageType.PRESENCE && id === undefined) presences.told(payload);
    commands.settle(envelope);
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
    if (detail.status === "connecting") commands.onConnecting();
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

  function onLost() {
    commands.onLost();
    rooms.connectionLost();
    presences.connectionLost();
  }

  function refuseAll() {
    commands.refuseAll(NOT_CONNECTED);
    rooms.rejectAll(NOT_CONNECTED);
    presences.forgetAll(NOT_CONNECTED);
  }

  /** Leaves the room, for all who have subscribed to it. */
  function leave(room) {
    rooms.forget(room);
    const left = commands.sendNow(MessageType.UNSUBSCRIBE, { room }, MessageType.UNSUBSCRIBED);
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

    send: (envelope) => commands.post(envelope),

    sendMessage: (type, payload) => realtime.send({ type, payload }),

    sendToRoom(room, content, options) {
      const { MESSAGE } = MessageType;
      if (options?.volatile) {
        // It would count against the rate of all that the page sends, and might end the connection.
        if (rooms.isOutside(room)) return Promise.resolve();
        return commands.sendVolatile(MESSAGE, { room, content, volatile: true });
      }
      return commands.post({ type: MESSAGE, payload: { room, content } }, MESSAGE);
    },

    call(type, payload, options) {
      const { room, timeout } = options ?? {};
      const answer = commands.post({ type, room: room ?? undefined, payload }, MessageType.RESULT, timeout);
      return ignorable(answer.then((envelope) => envelope.payload));
    },

    subscribe: rooms.want,

    unsubscribe: leave,

    presence: presences.of,

    ping() {
      const start = performance.now();
      const pong = commands.sendNow(MessageType.PING, undefined, MessageType.PONG);
      return ignorable(pong.then(() => performance.now() - start));
    },

    on: events.on,
    once: events.once,
  };

  addState(realtime, store);
  if (settings.autoConnect && hasAddress(settings.url)) realtime.connect();
  return realtime;
}

startFromTag(createRealtime);
