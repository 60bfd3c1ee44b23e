export const MAX_DELAY = 30_000;

// To browsers a longer wait is none.
export const LONGEST_TIMER = 2 ** 31 - 1;

export function backoffDelay(attempt, base = 1000, random = Math.random) {
  return Math.round(random() * Math.min(MAX_DELAY, base * 2 ** attempt));
}
