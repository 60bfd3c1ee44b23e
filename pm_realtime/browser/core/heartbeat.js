import { LONGEST_TIMER_MS } from "./backoff.js";

/** The shortest timeout of a ping after the page woke up. Slow networks get a longer one. */
const MIN_WAKE_TIMEOUT_MS = 1_000;

/** The same after a sleep so long that the server must have closed the connection. */
const STALE_TIMEOUT_MS = 250;

/** A timer that runs later than this belongs to a page that slept. */
const SLEEP_LATENESS_MS = 2_000;

/**
 * Pings the server each `interval`, and calls `onSilence()` if no answer comes within `timeout`.
 *
 * `suspect()` says that the connection may be broken. It is then not `healthy` until the answer to
 * a new ping calls `onHealthy()`. `ping()` sends a ping and returns its id. Times are in ms.
 *
 * The timer of the next ping is set when a frame comes in. Browsers run a chain of timers only once
 * a minute in hidden tabs, which is too slow for the server; such a timer they run in time.
 */
export function createHeartbeat({ interval, timeout, ping, onSilence, onHealthy }) {
  let pending = null;
  let healthy = true;
  let receivedAt = Date.now();
  let roundTrip = 0;
  let due;
  let timer;
  wait(beat, interval);

  function wait(run, delay) {
    clearTimeout(timer);
    due = Date.now() + delay;
    timer = setTimeout(run, Math.min(delay, LONGEST_TIMER_MS));
  }

  function beat() {
    probe(timeout);
  }

  function probe(answerTimeout) {
    wait(expire, answerTimeout);
    pending = { at: Date.now(), id: ping() };
  }

  function expire() {
    if (Date.now() - due > SLEEP_LATENESS_MS) suspect(true);
    else onSilence();
  }

  function timeoutFor(woken) {
    if (!woken) return timeout;
    if (Date.now() - receivedAt > interval + timeout) return STALE_TIMEOUT_MS;
    return Math.min(timeout, Math.max(MIN_WAKE_TIMEOUT_MS, 3 * roundTrip));
  }

  function suspect(woken) {
    const answerTimeout = timeoutFor(woken);
    const left = due - Date.now();
    if (!healthy && left >= 0 && left <= answerTimeout) return;
    healthy = false;
    probe(answerTimeout);
  }

  return {
    get healthy() {
      return healthy;
    },

    /** A frame came in. While the connection is suspect, only the answer to the ping counts. */
    received({ id }) {
      const isAnswer = pending?.id === id;
      // Other frames may have arrived before the sleep.
      if (!healthy && !isAnswer) return;
      receivedAt = Date.now();
      if (!pending) return;
      if (isAnswer) roundTrip = receivedAt - pending.at;
      pending = null;
      wait(beat, interval);
      if (healthy) return;
      healthy = true;
      onHealthy();
    },

    /** Pings now. `woken`: the page has slept, so the answer has to come soon. */
    suspect,

    stop() {
      clearTimeout(timer);
    },
  };
}
