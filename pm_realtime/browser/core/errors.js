const MESSAGES = {
  NOT_CONNECTED: "Not connected, and not trying to be.",
  CONNECTION_LOST: "The connection was lost before the reply.",
  TIMEOUT: "The server did not answer in time.",
  QUEUE_FULL: "Too much was waiting for a connection.",
  USER_CHANGED: "The next connection was another user's.",
  CANCELLED: "Unsubscribed before the answer.",
};

/** The codes of errors that the client raises itself. The server has a `TIMEOUT` of its own. */
export const LocalErrorCode = Object.freeze(
  Object.fromEntries(Object.keys(MESSAGES).map((code) => [code, code])),
);

/** Why a command failed. `envelope` is the server's `error`, or null if the client decided. */
export class RealtimeError extends Error {
  constructor(code, envelope = null) {
    const { message, room, retryAfter, path, data } = envelope?.payload ?? {};
    super(message ?? MESSAGES[code] ?? String(code));
    this.name = "RealtimeError";
    this.code = code;
    this.envelope = envelope;
    this.room = room ?? null;
    this.retryAfter = retryAfter ?? null;
    this.path = path ?? null;
    this.data = data ?? null;
  }
}

// The built file has a shorter name for the class, which consoles would show.
Object.defineProperty(RealtimeError, "name", { value: "RealtimeError" });
