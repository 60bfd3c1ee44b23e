export const MAX_DELAY = 30_000;

// Full jitter, so that the clients of a server that went away do not come back as one.
export function backoffDelay(attempt, base = 1000, random = Math.random) {
  return Math.round(random() * Math.min(MAX_DELAY, base * 2 ** attempt));
}
