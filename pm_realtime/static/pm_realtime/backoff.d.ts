/** The longest wait before an attempt, in ms. */
export declare const MAX_DELAY: 30000;

/** The longest wait that a timer can have, in ms; browsers take a longer one for none at all. */
export declare const LONGEST_TIMER: number;

/**
 * Milliseconds to wait before attempt number `attempt` (from 0): random between 0 and
 * `base * 2 ** attempt`, never over {@link MAX_DELAY}. From 0, so that the clients of a server that
 * went away do not come back as one.
 */
export declare function backoffDelay(attempt: number, base?: number, random?: () => number): number;
