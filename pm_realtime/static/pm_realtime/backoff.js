/** The longest wait before an attempt, in ms. */
export const MAX_DELAY = 30_000;

/**
 * Milliseconds to wait before attempt number `attempt` (from 0).
 *
 * Full jitter: anywhere between nothing and the doubled bound, so that the clients of a server
 * that went away do not all come back in the same instant.
 */
export function backoffDelay(attempt, base = 1000, random = Math.random) {
  return Math.round(random() * Math.min(MAX_DELAY, base * 2 ** attempt));
}
