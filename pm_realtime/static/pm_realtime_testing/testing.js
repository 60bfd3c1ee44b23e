import { createHandlers } from "./handlers.js";
import { createPresence } from "./presence.js";
import { createStreams, CURSOR } from "./streams.js";

const CONNECTING = 0;
const OPEN = 1;
const CLOSED = 3;

const DEFAULTS = {
  automatic: true,
  userId: 1,
  name: "User",
  role: "user",
  heartbeatInterval: 30_000,
  heartbeatTimeout: 10_000,
  history: 500,
};
const IDEMPOTENCY_PERIOD_MS = 300_000;

// As on the real server.
const MAX_CURSOR_LENGTH = 40;
const MAX_LAST = 10_000_000;

/** A server inside the page or process, for tests. The types are in testing.d.ts. */
export function createFakeServer(options = {}) {
  const settings = { ...DEFAULTS, ...options };
  // Otherwise clients of a test that gives every answer itself would send again by themselves.
  if (settings.automatic) settings.idempotencyPeriod ??= IDEMPOTENCY_PERIOD_MS;
  const connections = [];
  const refusals = [];
  const sent = [];
  const streams = createStreams(settings);
  const handlers = createHandlers(settings);
  const presence = createPresence(connections, (connection) => profiles.get(connection));
  const lanes = createLanes({ answer, roomOf });
  // By what a message was: when its id may be used again.
  const carriedOut = new Map();
  // While it is: "down", if clients are refused; "lost", if nothing answers them.
  let away = null;
  let awaiting = [];
  let restore = null;

  class FakeWebSocket extends EventTarget {
    constructor(url, protocols) {
      super();
      Object.assign(this, { url: String(url), protocols, readyState: CONNECTING });
      this.connection = createFakeConnection(this, connections.length + 1, settings, {
        streams,
        presence,
      });
      connections.push(this.connection);
      queueMicrotask(() => receive(this.connection));
    }

    send(text) {
      if (this.readyState === CONNECTING) throw new Error("InvalidStateError: not open yet.");
      if (this.readyState !== OPEN) return;
      const envelope = JSON.parse(text);
      this.connection.sent.push(envelope);
      sent.push(envelope);
      if (settings.automatic) queueMicrotask(() => lanes.enter(this.connection, envelope));
    }

    close(code = 1005) {
      if (this.readyState === CLOSED) return;
      this.connection.closedWith = code;
      this.connection.close(code);
    }
  }

  function receive(connection) {
    if (away === "down") connection.close(1006);
    if (away !== null || !settings.automatic || connection.socket.readyState !== CONNECTING) return;
    connection.accept();
    for (const resolve of awaiting.splice(0)) resolve(connection);
  }

  function roomOf({ type, room, payload }) {
    return handlers.has(type) ? room : payload?.room;
  }

  /** Returns a promise if the answer takes time. */
  function answer(connection, command) {
    const index = refusals.findIndex(({ type }) => type === command.type);
    if (index >= 0) {
      const [{ code, details }] = refusals.splice(index, 1);
      connection.refuse(command, code, details);
      return undefined;
    }
    if (handlers.has(command.type)) return handlers.answer(connection, command);
    const { room } = command.payload ?? {};
    if (command.type === "ping") connection.reply(command, "pong");
    else if (command.type === "subscribe") subscribe(connection, command);
    else if (command.type === "unsubscribe") {
      connection.rooms.delete(room);
      presence.leave(connection, room);
      connection.reply(command, "unsubscribed", { room, success: true });
    } else if (command.type === "message") publish(connection, command);
    else if (command.type === "presence") presence.answer(connection, command);
    else connection.refuse(command, "UNKNOWN_TYPE");
    return undefined;
  }

  function subscribe(connection, command) {
    const { room, since, last } = command.payload;
    if (!isStart(since, last)) {
      connection.refuse(command, "INVALID_PAYLOAD", { room });
      return;
    }
    const start = streams.ofRoom(room).start(since, last);
    const more = presence.join(connection, room);
    connection.rooms.add(room);
    if (since !== undefined) more.recovered = start.isWhole;
    if (start.cursor !== null) more.cursor = start.cursor;
    connection.reply(command, "subscribed", { room, success: true, ...more });
    replay(connection, { room }, start);
  }

  /** The sender's own connection may be gone: then the message is in the room and not answered. */
  function publish(connection, command) {
    const { room, content, volatile: isVolatile } = command.payload ?? {};
    if (!connection.rooms.has(room)) {
      connection.refuse(command, "NOT_IN_ROOM", { room });
      return;
    }
    const { userId, name, idempotencyPeriod } = settings;
    const from = userId === null ? {} : { from: { userId, name } };
    if (isVolatile !== undefined && typeof isVolatile !== "boolean") {
      connection.refuse(command, "INVALID_PAYLOAD", { room, path: "volatile" });
      return;
    }
    if (isVolatile) {
      const exclude = nameOf(connections.indexOf(connection) + 1);
      server.push("message", { room, content, ...from, volatile: true }, { room, exclude });
      return;
    }
    const key = JSON.stringify([room, userId, command.id, content]);
    if (carriedOut.get(key) > Date.now()) {
      connection.reply(command, "ack", { duplicate: true });
      return;
    }
    if (command.id !== undefined) carriedOut.set(key, Date.now() + idempotencyPeriod);
    server.push("message", { room, content, ...from }, { room, id: command.id });
  }

  const server = {
    WebSocket: FakeWebSocket,
    connections,
    sent,

    get last() {
      return connections.at(-1);
    },

    sentOf: (type) => sent.filter((envelope) => envelope.type === type),

    logIn(user) {
      Object.assign(settings, user);
    },

    push(type, payload, { room, to = "user", exclude, ...rest } = {}) {
      const through = room === undefined ? { to } : { room };
      const stream = room === undefined ? streams.ofOwn(to) : streams.ofRoom(room);
      const envelope = { type, payload, timestamp: Date.now(), ...rest, ...(stream && through) };
      const isVolatile = type === "message" && payload?.volatile === true;
      const stored = isVolatile ? undefined : stream?.append(envelope, exclude);
      const text = JSON.stringify(stored ?? envelope);
      for (const [index, connection] of connections.entries()) {
        if (!connection.open || exclude === nameOf(index + 1)) continue;
        const isIn = room === undefined ? stream === ownOf(connection, to) : connection.rooms.has(room);
        if (isIn) connection.text(text);
      }
    },

    handle: handlers.add,

    presence: presence.open,

    refuse(type, code, details = {}) {
      refusals.push({ type, code, details });
    },

    close(code = 1006, reason = "") {
      for (const connection of connections) connection.close(code, reason);
    },

    goDown(code = 1006) {
      away = "down";
      server.close(code);
    },

    comeBack() {
      away = null;
    },

    drop() {
      away = "lost";
      server.close(1006);
    },

    recover() {
      away = null;
      for (const connection of connections) queueMicrotask(() => receive(connection));
      return new Promise((resolve) => {
        awaiting.push(resolve);
      });
    },

    forgetHistory: streams.forget,

    install() {
      if (restore) return server;
      const had = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
      globalThis.WebSocket = FakeWebSocket;
      restore = () => {
        delete globalThis.WebSocket;
        if (had) Object.defineProperty(globalThis, "WebSocket", had);
      };
      return server;
    },

    uninstall() {
      restore?.();
      restore = null;
    },
  };
  return server;
}

/** Carries out what one connection sends for one room in its order, and everything else at once. */
function createLanes({ answer, roomOf }) {
  const waiting = new WeakMap();

  async function run(connection, commands, onEnd) {
    while (commands.length > 0) {
      const answered = answer(connection, commands[0]);
      // What is answered at once takes no turn.
      if (answered) await answered;
      commands.shift();
    }
    onEnd();
  }

  return {
    enter(connection, command) {
      const room = roomOf(command);
      if (room === undefined) {
        answer(connection, command);
        return;
      }
      if (!waiting.has(connection)) waiting.set(connection, new Map());
      const lanes = waiting.get(connection);
      if (lanes.has(room)) {
        lanes.get(room).push(command);
        return;
      }
      lanes.set(room, [command]);
      run(connection, lanes.get(room), () => lanes.delete(room));
    },
  };
}

const nameOf = (number) => `fake-${number}`;

// By connection and then by `to`, the streams of its user.
const own = new WeakMap();
const ownOf = (connection, to) => own.get(connection)?.get(to);

// By connection: its id, those of its client's former connections, and its user.
const profiles = new WeakMap();

/** The server's end of one socket. */
function createFakeConnection(socket, number, settings, { streams, presence }) {
  const connection = {
    socket,
    url: socket.url,
    protocols: socket.protocols,
    sent: [],
    rooms: new Set(),
    closedWith: null,

    get open() {
      return socket.readyState === OPEN;
    },

    get lastSent() {
      return connection.sent.at(-1);
    },

    sentOf: (type) => connection.sent.filter((envelope) => envelope.type === type),

    accept(payload = {}) {
      if (socket.readyState === CLOSED) return;
      if (socket.readyState === CONNECTING) {
        socket.readyState = OPEN;
        socket.dispatchEvent(new Event("open"));
      }
      const { userId, role, heartbeatInterval, heartbeatTimeout, idempotencyPeriod } = settings;
      const { starts, recovered, former } = startOwn(connection, settings, streams);
      profiles.set(connection, { id: nameOf(number), former, userId, name: settings.name });
      const cursors = [...starts].filter(([, { cursor }]) => cursor !== null);
      connection.frame("connected", {
        userId,
        connectionId: nameOf(number),
        role: userId === null ? null : role,
        heartbeatInterval,
        heartbeatTimeout,
        idempotencyPeriod,
        cursors: Object.fromEntries(cursors.map(([to, { cursor }]) => [to, cursor])),
        ...recovered,
        ...payload,
      });
      for (const [to, start] of starts) replay(connection, { to }, start);
    },

    text(data) {
      if (!connection.open) return;
      socket.dispatchEvent(Object.assign(new Event("message"), { data }));
    },

    frame(type, payload, rest = {}) {
      connection.text(JSON.stringify({ type, payload, timestamp: Date.now(), ...rest }));
    },

    reply(command, type, payload) {
      connection.frame(type, payload, { id: command.id });
    },

    refuse(command, code, details = {}) {
      connection.reply(command, "error", { code, message: `Refused: ${code}.`, ...details });
    },

    close(code = 1006, reason = "") {
      if (socket.readyState === CLOSED) return;
      socket.readyState = CLOSED;
      presence.lose(connection, code);
      socket.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
    },
  };
  return connection;
}

/** Where the streams of the connection's user begin for it, by `to`. */
function startOwn(connection, { automatic, userId, role }, streams) {
  const query = new URL(connection.url, "ws://fake.invalid/").searchParams;
  const isSameUser = (query.get("user") ?? String(userId ?? "")) === String(userId ?? "");
  const asked = automatic ? query.get("since") : null;
  const since = isSameUser && asked !== null ? parse(asked) : null;
  const names = userId === null ? [] : ["user", "all", `role:${role}`];
  const resumed = query.get("resume");
  own.set(connection, new Map(names.map((to) => [to, streams.ofOwn(to)])));
  const starts = new Map();
  if (automatic) {
    for (const [to, stream] of own.get(connection)) starts.set(to, stream.start(since?.[to]));
  }
  const isWhole = since !== null && [...starts.values()].every((start) => start.isWhole !== false);
  return {
    starts,
    recovered: asked === null ? {} : { recovered: isWhole },
    former: isSameUser && resumed ? resumed.split(",") : [],
  };
}

/** Sends what follows `start` in its stream, and before that, that something is missing. */
function replay(connection, through, { isWhole, cursor, missed }) {
  if (isWhole === false) connection.frame("gap", {}, { ...through, cursor: cursor ?? undefined });
  for (const { envelope, exclude } of missed) {
    if (profiles.get(connection)?.former.includes(exclude)) continue;
    connection.text(JSON.stringify({ ...envelope, replayed: true }));
  }
}

function parse(text) {
  try {
    const value = JSON.parse(text);
    const isValid = value?.constructor === Object && Object.values(value).every((one) => CURSOR.test(one));
    return isValid ? value : null;
  } catch {
    return null;
  }
}

function isStart(since, last) {
  const isText = typeof since === "string" && since.length <= MAX_CURSOR_LENGTH;
  const isCount = Number.isInteger(last) && last >= 0 && last <= MAX_LAST;
  return (since === undefined || isText) && (last === undefined || isCount);
}
