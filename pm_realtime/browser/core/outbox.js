import { RealtimeError } from "./errors.js";

/** How many messages may wait for a connection. One more rejects the oldest. */
export const MAX_QUEUED = 100;

/** Messages that wait for a connection, in order. `transmit(item)` says if the item was sent. */
export function createOutbox(transmit) {
  let waiting = [];

  function refuse({ deferred }, code) {
    deferred.reject(new RealtimeError(code));
  }

  return {
    /** Sends, after everything that waits already. */
    push(item) {
      if (waiting.length === 0 && transmit(item)) return;
      if (waiting.length >= MAX_QUEUED) refuse(waiting.shift(), "QUEUE_FULL");
      waiting.push(item);
    },

    flush() {
      while (waiting.length > 0 && transmit(waiting[0])) waiting.shift();
    },

    rejectAll(code) {
      const items = waiting;
      waiting = [];
      for (const item of items) refuse(item, code);
    },
  };
}
