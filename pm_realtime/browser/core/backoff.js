export const MAX_DELAY = 30_000;

// To browsers a longer wait is none.
export const LONGEST_TIMER = 2 ** 31 - 1;

export function backoffDelay(attempt, base = 1000, random = Math.random) {
  return Math.round(random() * Math.min(MAX_DELAY, base * 2 ** attempt));
}

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
