import { LocalErrorCode, MessageType } from "./constants.js";

/** How long a command that went out may stay unanswered, in ms. */
export const REPLY_TIMEOUT = 15_000;

/** Why a command failed. `code` is the server's, or one of `LocalErrorCode`. */
export class RealtimeError extends Error {
  constructor(code, message, envelope = null) {
    super(message);
    this.name = "RealtimeError";
    this.code = code;
    this.envelope = envelope;
    this.room = envelope?.payload?.room ?? null;
    this.retryAfter = envelope?.payload?.retryAfter ?? null;
  }
}

/** A promise with its two ends, that may be ignored without an unhandled rejection. */
export function createDeferred() {
  const deferred = {};
  deferred.promise = new Promise((resolve, reject) => {
    deferred.resolve = resolve;
    deferred.reject = reject;
  });
  deferred.promise.catch(() => {});
  return deferred;
}

/** Commands waiting for the reply that carries their `id`. */
export function createReplies() {
  const pending = new Map();

  function take(id) {
    const entry = pending.get(id);
    pending.delete(id);
    clearTimeout(entry?.timer);
    return entry;
  }

  function reject(id, code, message) {
    take(id)?.deferred.reject(new RealtimeError(code, message));
  }

  return {
    expect(id, type) {
      const deferred = createDeferred();
      pending.set(id, { type, deferred, timer: null });
      return deferred.promise;
    },

    /** Time runs from here: what waits for a connection is not late. */
    sent(id) {
      const entry = pending.get(id);
      if (!entry) return;
      entry.timer = setTimeout(() => {
        reject(id, LocalErrorCode.TIMEOUT, "The server did not answer in time.");
      }, REPLY_TIMEOUT);
    },

    settle(envelope) {
      const entry = pending.get(envelope.id);
      if (!entry) return;
      if (envelope.type === MessageType.ERROR) {
        const { code, message } = envelope.payload ?? {};
        take(envelope.id);
        entry.deferred.reject(new RealtimeError(code, message ?? String(code), envelope));
      } else if (envelope.type === entry.type) {
        take(envelope.id);
        entry.deferred.resolve(envelope);
      }
    },

    reject,

    /** The connection is gone: nobody will answer what went out on it. */
    connectionLost() {
      for (const [id, entry] of [...pending]) {
        if (entry.timer === null) continue;
        reject(id, LocalErrorCode.CONNECTION_LOST, "The connection was lost before the reply.");
      }
    },

    rejectAll(code, message) {
      for (const id of [...pending.keys()]) reject(id, code, message);
    },
  };
}
