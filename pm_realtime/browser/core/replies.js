import { MessageType } from "../constants.js";
import { RealtimeError } from "./errors.js";

export const REPLY_TIMEOUT = 15_000;

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
    sent(sent, type, deferred) {
      const { id } = sent;
      const timer = setTimeout(() => {
        take(id)?.deferred.reject(new RealtimeError("TIMEOUT"));
      }, REPLY_TIMEOUT);
      pending.set(id, { sent, type, deferred, timer });
    },

    settle(envelope) {
      const { id, type, payload } = envelope;
      if (type === MessageType.ERROR) {
        // What is too large is answered without an id.
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
