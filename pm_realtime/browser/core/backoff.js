const MAX_DELAY_MS = 30_000;

/** The longest wait of a timer. Browsers do not wait at all for a longer one. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The first retry comes up to this long after `retryAfter`. The bound then doubles. */
export const RETRY_SPREAD_MS = 250;

/**
 * A random wait before attempt number `attempt` (from 0), in ms.
 *
 * It is between 0 and `base * 2 ** attempt`, and at most 30 s. It starts at 0 so that the clients
 * of a server that went away spread out over the whole time when they come back.
 */
export function backoffDelay(attempt, base = 1000, random = Math.random) {
  return Math.round(random() * Math.min(MAX_DELAY_MS, base * 2 ** attempt));
}

/** The wait before a command that was refused for now is sent again, as the server asks for it. */
export function retryDelay(retryAfter, failures) {
  const delay =
    retryAfter > 0
      ? Number(retryAfter) + backoffDelay(failures, RETRY_SPREAD_MS)
      : backoffDelay(failures);
  return Math.min(delay, LONGEST_TIMER_MS);
}

/**
 * The delays of one connection: call the result with 0, 1, 2 … for the attempts in a row.
 *
 * Each attempt has a window of its own that begins when the one before ends, and is as long as the
 * bound of `backoffDelay`. So a few attempts never all fall into the first moments of an outage:
 * with a `base` of 1000 the fifth comes after 15 s at the earliest.
 */
export function createBackoff() {
  let unused = 0;
  return (attempt, base) => {
    if (!attempt) unused = 0;
    const window = backoffDelay(attempt, base, () => 1);
    const delay = Math.min(window, unused + backoffDelay(attempt, base));
    unused += window - delay;
    return delay;
  };
}
