import { backoffDelay } from "./backoff.js";
import { ABNORMAL_CLOSE } from "./socket.js";

/** A connection that ends sooner counts as one more failure in a row. */
export const STABLE_AFTER_MS = 5_000;

/**
 * Firefox closes sockets with this code when a navigation starts. The page often lives on, for
 * example after a download, so this is no failure. Servers and proxies may send it, too.
 */
export const GOING_AWAY = 1001;

/** After so many short connections in a row, the next ones are not opened at once. */
const MAX_AT_ONCE = 10;

/** How soon to connect after closes with `GOING_AWAY`. */
export function createGoingAway() {
  let inRow = 0;
  let wasLast = false;

  return {
    /**
     * The wait in ms, 0 for a few of them; null if the close is a failure. `lived`: for how many ms
     * there was a connection.
     */
    delay(code, lived, base) {
      // The next navigation ends the attempt after such a close with another code. Only one is
      // taken for that, as the server may be away.
      const isAttempt = wasLast && code === ABNORMAL_CLOSE && !(lived > 0);
      wasLast = code === GOING_AWAY;
      if (!wasLast && !isAttempt) return null;
      inRow = lived < STABLE_AFTER_MS ? inRow + 1 : 1;
      return inRow > MAX_AT_ONCE ? backoffDelay(inRow - MAX_AT_ONCE, base) : 0;
    },

    /** No connection at once before a stable one. */
    spend() {
      inRow = MAX_AT_ONCE;
    },
  };
}
