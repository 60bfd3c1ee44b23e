import { createConnection } from "./connection.js";
import { LocalErrorCode, MessageType } from "./constants.js";
import { createEvents } from "./events.js";
import { createReplies } from "./replies.js";
import { createRooms } from "./rooms.js";

export { backoffDelay } from "./backoff.js";
export { CloseCode, ErrorCode, LocalErrorCode, MessageType, mayReconnect } from "./constants.js";
export { RealtimeError } from "./replies.js";

/** What may wait for a connection; more is refused. */
export const MAX_QUEUED = 100;

const DEFAULTS = {
  autoConnect: false,
  reconnect: true,
  maxReconnectAttempts: 5,
  reconnectDelay: 1000,
};

const REFUSALS = {
  [LocalErrorCode.NOT_CONNECTED]: "Not connected.",
  [LocalErrorCode.QUEUE_FULL]: "Too much is waiting for a connection already.",
};

/** A client of one pm_realtime server. See client.d.ts for options, methods and events. */
export function createRealtime(options = {}) {
  const events = createEvents();
  const replies = createReplies();
  const rooms = createRooms((room) => ask(MessageType.SUBSCRIBE, { room }, MessageType.SUBSCRIBED));
  let queue = [];
  let identity = null;
  // Until the first connect() and while one may come, what is sent waits for it.
  let refusing = false;

  const connection = createConnection({ ...DEFAULTS, ...options }, {
    ping: () => transmit(complete({ type: MessageType.PING })),
    onConnected,
    onFrame,
    onStatus: (detail) => events.emit(":status", detail),
    onClose,
  });

  function onConnected(envelope) {
    identity = envelope.payload ?? {};
    rooms.joinAll();
    const waiting = queue;
    queue = [];
    waiting.forEach(transmit);
    events.emit(":open", identity);
  }

  function onFrame(envelope) {
    if (envelope.type === MessageType.UNSUBSCRIBED && isUnasked(envelope)) {
      rooms.forget(envelope.payload?.room);
    }
    replies.settle(envelope);
    // Names with a colon in front belong to the client's own events, "*" to all frames.
    if (!envelope.type.startsWith(":") && envelope.type !== "*") {
      events.emit(envelope.type, envelope);
    }
    events.emit("*", envelope);
  }

  function onClose({ final, ...detail }) {
    identity = null;
    if (final) {
      refusing = true;
      queue = [];
      replies.rejectAll(LocalErrorCode.NOT_CONNECTED, "The connection was closed.");
      rooms.rejectAll(LocalErrorCode.NOT_CONNECTED, "The connection was closed.");
    } else {
      replies.connectionLost();
      rooms.connectionLost();
    }
    events.emit(":close", detail);
  }

  function transmit(envelope) {
    connection.send(JSON.stringify(envelope));
    replies.sent(envelope.id);
  }

  /** Sends now or keeps for the next connection; the code of the reason where neither can be. */
  function deliver(envelope) {
    if (connection.status === "connected") transmit(envelope);
    else if (refusing) return LocalErrorCode.NOT_CONNECTED;
    else if (queue.length >= MAX_QUEUED) return LocalErrorCode.QUEUE_FULL;
    else queue.push(envelope);
    return null;
  }

  function ask(type, payload, replyType) {
    const envelope = complete({ type, payload });
    const reply = replies.expect(envelope.id, replyType);
    const refusal = deliver(envelope);
    if (refusal) replies.reject(envelope.id, refusal, REFUSALS[refusal]);
    return reply;
  }

  const realtime = {
    get connected() {
      return connection.status === "connected";
    },
    get status() {
      return connection.status;
    },
    get connectionId() {
      return identity?.connectionId ?? null;
    },
    get userId() {
      return identity?.userId ?? null;
    },
    get role() {
      return identity?.role ?? null;
    },
    get rooms() {
      return rooms.names;
    },

    connect() {
      refusing = false;
      connection.connect();
    },

    disconnect() {
      connection.disconnect();
    },

    send(envelope) {
      if (typeof envelope?.type !== "string") throw new TypeError("An envelope needs a type.");
      return deliver(complete(envelope)) === null;
    },

    sendToRoom(room, content) {
      return ask(MessageType.MESSAGE, { room, content }, MessageType.MESSAGE);
    },

    subscribe(room) {
      return rooms.want(room);
    },

    unsubscribe(room) {
      rooms.forget(room);
      if (connection.status === "connected") {
        return ask(MessageType.UNSUBSCRIBE, { room }, MessageType.UNSUBSCRIBED);
      }
      // Without a connection there is nothing to leave.
      const payload = { room, success: true };
      return Promise.resolve(complete({ type: MessageType.UNSUBSCRIBED, payload }));
    },

    ping() {
      if (connection.status === "connected") return ask(MessageType.PING, undefined, MessageType.PONG);
      const { id } = complete({});
      const reply = replies.expect(id, MessageType.PONG);
      replies.reject(id, LocalErrorCode.NOT_CONNECTED, REFUSALS.NOT_CONNECTED);
      return reply;
    },

    on: events.on,
    once: events.once,
  };

  if (options.autoConnect) realtime.connect();
  return realtime;
}

function isUnasked({ id, payload }) {
  return id === undefined || payload?.reason !== undefined;
}

function complete(envelope) {
  return { ...envelope, timestamp: envelope.timestamp ?? Date.now(), id: envelope.id ?? newId() };
}

function newId() {
  // Pages on plain http have no randomUUID.
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
