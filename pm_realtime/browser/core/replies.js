import { MessageType } from "../constants.js";
import { RealtimeError } from "./errors.js";

/** How long a command may stay unanswered after it was sent. */
export const REPLY_TIMEOUT_MS = 15_000;

/** Commands that were sent and wait for the reply that has their `id`. */
export function createReplies() {
  const pending = new Map();

  function take(id) {
    const entry = pending.get(id);
    pending.delete(id);
    clearTimeout(entry?.timer);
    return entry;
  }

  function rejectAll(code) {
    for (const id of [...pending.keys()]) take(id).deferred.reject(new RealtimeError(code));
  }

  return {
    /** `sent` is on its way; a reply of type `type` settles `deferred`. */
    sent(sent, type, deferred) {
      const { id } = sent;
      const timer = setTimeout(() => {
        take(id)?.deferred.reject(new RealtimeError("TIMEOUT"));
      }, REPLY_TIMEOUT_MS);
      pending.set(id, { sent, type, deferred, timer });
    },

    /** Settles the command that the envelope answers, if there is one. */
    settle(envelope) {
      const { id, type, payload } = envelope;
      if (type === MessageType.ERROR) {
        // The server does not read a command that is too large, so its error has no id.
        const limit = payload?.code === "MESSAGE_TOO_LARGE" && /\d+/.exec(payload.message);
        for (const [key, { sent }] of pending) {
          const isMeant = limit ? new Blob([JSON.stringify(sent)]).size > limit : key === id;
          if (isMeant) take(key).deferred.reject(new RealtimeError(payload?.code, envelope));
        }
      } else if (pending.get(id)?.type === type) {
        take(id).deferred.resolve(envelope);
      }
    },

    rejectAll,
  };
}
