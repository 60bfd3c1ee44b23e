import { LONGEST_TIMER_MS } from "./backoff.js";
import { RealtimeError } from "./errors.js";

/** How many messages may wait for a connection. One more rejects the oldest. */
export const MAX_QUEUED = 100;

/**
 * Messages that wait for a connection, in order. `transmit(item)` says if the item was sent.
 * `isHeld(item)` says if it has to wait for its room, while those of other rooms are sent.
 *
 * It sets `number`, the item's place in the order, and `isLost`, if it was sent on a lost connection.
 * Such an item rejects at `item.expiresAt`: the server then does not know any more that it had it.
 */
export function createOutbox(transmit, isHeld) {
  let items = [];
  let count = 0;
  let timer;

  function refuse({ deferred }, code) {
    deferred.reject(new RealtimeError(code));
  }

  function remove(item) {
    items = items.filter((one) => one !== item);
  }

  function add(more) {
    items = [...items, ...more].sort((one, other) => one.number - other.number);
    expire();
  }

  function expire() {
    clearTimeout(timer);
    let delay = Infinity;
    items = items.filter((item) => {
      const left = (item.expiresAt ?? Infinity) - Date.now();
      if (left > 0) delay = Math.min(delay, left);
      else refuse(item, "CONNECTION_LOST");
      return left > 0;
    });
    if (delay < Infinity) timer = setTimeout(expire, Math.min(delay, LONGEST_TIMER_MS));
  }

  function flush() {
    expire();
    let isOpen = true;
    items = items.filter((item) => {
      if (isHeld(item)) return true;
      isOpen = isOpen && transmit(item);
      return !isOpen;
    });
    expire();
  }

  return {
    /** Sends, after everything that waits already. */
    push(item) {
      item.number = count++;
      items.push(item);
      flush();
      const waiting = items.filter(({ isLost }) => !isLost);
      if (waiting.length <= MAX_QUEUED) return;
      remove(waiting[0]);
      refuse(waiting[0], "QUEUE_FULL");
    },

    /** The server refused it because of its room. It waits again, before those that are newer. */
    returned(item) {
      if (!item.isLost) item.expiresAt = undefined;
      add([item]);
    },

    /** These were sent, and not answered before the connection was lost. */
    sendAgain(lost) {
      for (const item of lost) item.isLost = true;
      add(lost);
    },

    flush,

    remove,

    rejectAll(code) {
      clearTimeout(timer);
      for (const item of items.splice(0)) refuse(item, code);
    },
  };
}
