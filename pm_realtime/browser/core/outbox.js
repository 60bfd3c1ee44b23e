import { LONGEST_TIMER_MS } from "./backoff.js";
import { RealtimeError } from "./errors.js";

/** How many messages may wait for a connection. One more rejects the oldest. */
export const MAX_QUEUED = 100;

/**
 * Messages that wait for a connection, in order. `transmit(item)` says if the item was sent.
 * `isHeld(item)` says if it has to wait for its room, while those of other rooms are sent.
 *
 * Those that were sent on a lost connection go first. They reject at `item.expiresAt`: the server
 * then does not know any more that it had them.
 */
export function createOutbox(transmit, isHeld) {
  let unanswered = [];
  let waiting = [];
  let timer;

  function refuse({ deferred }, code) {
    deferred.reject(new RealtimeError(code));
  }

  function expire() {
    clearTimeout(timer);
    while (unanswered[0]?.expiresAt <= Date.now()) refuse(unanswered.shift(), "CONNECTION_LOST");
    if (unanswered.length === 0) return;
    const delay = unanswered[0].expiresAt - Date.now();
    timer = setTimeout(expire, Math.min(delay, LONGEST_TIMER_MS));
  }

  function flush() {
    expire();
    for (const items of [unanswered, waiting]) {
      for (const item of [...items]) {
        if (isHeld(item)) continue;
        if (!transmit(item)) return;
        items.splice(items.indexOf(item), 1);
      }
    }
    expire();
  }

  return {
    /** Sends, after everything that waits already. */
    push(item) {
      waiting.push(item);
      flush();
      if (waiting.length > MAX_QUEUED) refuse(waiting.shift(), "QUEUE_FULL");
    },

    /** The server refused it because of its room. It waits again, before those that never were sent. */
    returned(item) {
      item.expiresAt = undefined;
      item.isReturned = true;
      const newer = waiting.findIndex((one) => !one.isReturned);
      waiting.splice(newer < 0 ? waiting.length : newer, 0, item);
    },

    /** These were sent, and not answered before the connection was lost. */
    sendAgain(items) {
      unanswered = [...items, ...unanswered];
      expire();
    },

    flush,

    remove(item) {
      [unanswered, waiting] = [unanswered, waiting].map((all) => all.filter((one) => one !== item));
    },

    rejectAll(code) {
      const items = [...unanswered, ...waiting];
      unanswered = [];
      waiting = [];
      clearTimeout(timer);
      for (const item of items) refuse(item, code);
    },
  };
}
