import { retryDelay } from "./backoff.js";
import { RealtimeError } from "./errors.js";
import { createDeferred } from "./promises.js";

/** At most one state of a room is sent in this time. */
export const STATE_INTERVAL_MS = 100;

/**
 * Sends the page's own state of a room, the latest only. `write(payload, { resolve, reject })` sends
 * one, and `isReady()` says if that may be now; else `flush()` comes.
 *
 * A change has: `state`; `ttl` in seconds, if it has an end; `setAt`, when it was set; `waiters`, those
 * that wait for it or for one that it took the place of.
 */
export function createStateWriter({ room, write, isReady }) {
  let next = null;
  let timer = null;

  function flush() {
    if (!next || timer !== null || !isReady()) return;
    const change = next;
    next = null;
    rest(STATE_INTERVAL_MS);
    write(
      { room, ...present(change) },
      {
        resolve: () => change.waiters.forEach(({ resolve }) => resolve()),
        reject: (error) => refused(change, error),
      },
    );
  }

  function rest(delay) {
    stop();
    timer = setTimeout(() => {
      timer = null;
      flush();
    }, delay);
  }

  function stop() {
    clearTimeout(timer);
    timer = null;
  }

  function refused(change, error) {
    const { code, retryAfter } = error;
    if (code !== "CONNECTION_LOST" && code !== "RATE_LIMITED") {
      change.waiters.forEach(({ reject }) => reject(error));
      return;
    }
    // A newer change takes the place of this one.
    if (next) next.waiters.unshift(...change.waiters);
    else next = change;
    if (retryAfter > 0) rest(retryDelay(retryAfter, 0));
  }

  return {
    set(state, options) {
      const waiter = createDeferred();
      try {
        // A copy, because the page may change its object while it waits.
        const copy = JSON.parse(JSON.stringify(state ?? null));
        const waiters = next?.waiters ?? [];
        next = { state: copy, ttl: options?.ttl, setAt: Date.now(), waiters };
        waiters.push(waiter);
        flush();
      } catch (error) {
        waiter.reject(error);
      }
      return waiter.promise;
    },

    flush,

    reject(code) {
      next?.waiters.forEach(({ reject }) => reject(new RealtimeError(code)));
      next = null;
      stop();
    },
  };
}

/** What the change says now. If its time is over, the state is null, as it would be on the server. */
function present({ state, ttl, setAt }) {
  const waited = (Date.now() - setAt) / 1000;
  if (waited > 0 && ttl <= waited) return { state: null };
  return { state, ttl: ttl && ttl - waited };
}
