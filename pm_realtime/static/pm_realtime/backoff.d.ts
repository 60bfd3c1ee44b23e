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

/**
 * Makes the delays of one connection: call what it gives with 0, 1, 2 … for the attempts in a row.
 *
 * Each attempt comes at a random moment of a window of its own, which is as long as the bound of
 * {@link backoffDelay} and begins where the last one ended. No delay is over its bound, and however
 * the dice fall, a few attempts do not all come in the first moments of an outage: the fifth comes
 * after 15 s at the earliest, where `base` is 1000.
 */
export declare function createBackoff(): (attempt: number, base?: number) => number;
