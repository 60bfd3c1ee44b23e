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
};

/** A server inside the page or process, for tests. The types are in testing.d.ts. */
export function createFakeServer(options = {}) {
  const settings = { ...DEFAULTS, ...options };
  const connections = [];
  const refusals = [];
  const sent = [];
  let down = false;
  let restore = null;

  class FakeWebSocket extends EventTarget {
    constructor(url, protocols) {
      super();
      Object.assign(this, { url: String(url), protocols, readyState: CONNECTING });
      this.connection = createFakeConnection(this, server, settings);
      connections.push(this.connection);
      if (down) queueMicrotask(() => this.connection.close(1006));
      else if (settings.automatic) queueMicrotask(() => this.connection.accept());
    }

    send(text) {
      if (this.readyState === CONNECTING) throw new Error("InvalidStateError: not open yet.");
      if (this.readyState !== OPEN) return;
      const envelope = JSON.parse(text);
      this.connection.sent.push(envelope);
      sent.push(envelope);
      if (settings.automatic) queueMicrotask(() => answer(this.connection, envelope));
    }

    close(code = 1005) {
      if (this.readyState === CLOSED) return;
      this.connection.closedWith = code;
      this.connection.close(code);
    }
  }

  function answer(connection, command) {
    const index = refusals.findIndex(({ type }) => type === command.type);
    if (index >= 0) {
      const [{ code, details }] = refusals.splice(index, 1);
      connection.refuse(command, code, details);
      return;
    }
    const { room, content } = command.payload ?? {};
    if (command.type === "ping") connection.reply(command, "pong");
    else if (command.type === "subscribe") {
      connection.rooms.add(room);
      connection.reply(command, "subscribed", { room, success: true });
    } else if (command.type === "unsubscribe") {
      connection.rooms.delete(room);
      connection.reply(command, "unsubscribed", { room, success: true });
    } else if (command.type === "message") {
      if (!connection.rooms.has(room)) connection.refuse(command, "NOT_IN_ROOM", { room });
      else {
        const { userId, name } = settings;
        const payload = { room, content, ...(userId === null ? {} : { from: { userId, name } }) };
        server.push("message", payload, { room, id: command.id });
      }
    } else connection.refuse(command, "UNKNOWN_TYPE");
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

    push(type, payload, { room, ...rest } = {}) {
      for (const connection of connections) {
        if (!connection.open || (room !== undefined && !connection.rooms.has(room))) continue;
        connection.frame(type, payload, { ...rest, ...(room === undefined ? {} : { room }) });
      }
    },

    refuse(type, code, details = {}) {
      refusals.push({ type, code, details });
    },

    close(code = 1006, reason = "") {
      for (const connection of connections) connection.close(code, reason);
    },

    goDown(code = 1006) {
      down = true;
      server.close(code);
    },

    comeBack() {
      down = false;
    },

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

/** The server's end of one socket. */
function createFakeConnection(socket, server, settings) {
  const number = server.connections.length + 1;
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
      const { userId, role, heartbeatInterval, heartbeatTimeout } = settings;
      connection.frame("connected", {
        userId,
        connectionId: `fake-${number}`,
        role: userId === null ? null : role,
        heartbeatInterval,
        heartbeatTimeout,
        ...payload,
      });
    },

    text(data) {
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
      socket.dispatchEvent(Object.assign(new Event("close"), { code, reason }));
    },
  };
  return connection;
}
