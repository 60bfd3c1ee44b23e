const BUILT_IN = ["ping", "subscribe", "unsubscribe", "message", "presence"];

/** The handlers of a site's own commands. Under one id, a command is carried out once. */
export function createHandlers(settings) {
  const handlers = new Map();
  // By what a command was: the promise of its result, and until when it is known.
  const results = new Map();

  function userOf() {
    const { userId, name, role } = settings;
    return userId === null ? null : { userId, name, role };
  }

  /** The result of the command, which a repeated one does not produce again. */
  function carryOut(command, handler) {
    const { type, room, payload, id } = command;
    const user = userOf();
    const run = async () => written(await handler(payload, { room, user, id }));
    if (id === undefined) return run();
    const key = JSON.stringify([user?.userId, type, room, id, payload]);
    const known = results.get(key);
    if (known?.expiresAt > Date.now()) return known.result.catch(() => carryOut(command, handler));
    const result = run();
    results.set(key, { result, expiresAt: Date.now() + settings.idempotencyPeriod });
    result.catch(() => results.delete(key));
    return result;
  }

  async function answer(connection, command) {
    const { type, room, id } = command;
    const { handler, joined } = handlers.get(type);
    // The client sends it again, on its next connection.
    if (!connection.open) return;
    if (room !== undefined && joined && !connection.rooms.has(room)) {
      connection.refuse(command, "NOT_IN_ROOM", { room });
      return;
    }
    try {
      const result = await carryOut(command, handler);
      if (id !== undefined) connection.reply(command, "result", result);
    } catch (error) {
      const { code, ...details } = detailsOf(error, room);
      connection.refuse(command, code, details);
    }
  }

  return {
    add(type, handler, { joined = true } = {}) {
      if (BUILT_IN.includes(type)) throw new TypeError(`"${type}" is a command of pm_realtime itself.`);
      const entry = { handler, joined };
      handlers.set(type, entry);
      return () => {
        if (handlers.get(type) === entry) handlers.delete(type);
      };
    },

    has: (type) => handlers.has(type),

    answer,
  };
}

/** The value as JSON hands it on; null if there is none. */
const written = (value) => JSON.parse(JSON.stringify(value ?? null));

/** What the client is told of an error. Of one without a `code` it learns nothing. */
function detailsOf(error, ofCommand) {
  const { code, message, data, path, retryAfter, room } = error ?? {};
  try {
    if (typeof code === "string") {
      const details = { data, path, retryAfter, room, message: message || undefined };
      const given = Object.entries(details).filter(([, value]) => (value ?? null) !== null);
      return written({ code, ...Object.fromEntries(given) });
    }
  } catch (reason) {
    error = reason;
  }
  console.error(error);
  return { code: "INTERNAL_ERROR", room: ofCommand };
}
