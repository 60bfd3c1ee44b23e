const MESSAGES = {
  NOT_CONNECTED: "Not connected, and not trying to be.",
  CONNECTION_LOST: "The connection was lost before the reply.",
  TIMEOUT: "The server did not answer in time.",
  QUEUE_FULL: "Too much was waiting for a connection.",
  USER_CHANGED: "The next connection was another user's.",
  CANCELLED: "Unsubscribed before the answer.",
};

export const LocalErrorCode = Object.freeze(
  Object.fromEntries(Object.keys(MESSAGES).map((code) => [code, code])),
);

export class RealtimeError extends Error {
  constructor(code, envelope = null) {
    const { message, room, retryAfter } = envelope?.payload ?? {};
    super(message ?? MESSAGES[code] ?? String(code));
    this.name = "RealtimeError";
    this.code = code;
    this.envelope = envelope;
    this.room = room ?? null;
    this.retryAfter = retryAfter ?? null;
  }
}
