/** How long an answer may take where the page has just woken, in ms; longer on slow networks. */
export declare const WAKE_PATIENCE: 1000;

export interface HeartbeatOptions {
  /** Milliseconds between two pings, and to the answer. */
  interval: number;
  timeout: number;
  /** Sends a ping; gives its id. */
  ping(): string;
  /** No answer in time. */
  onSilence(): void;
  /** The answer after `doubt` is in. */
  onSure(): void;
}

export interface Heartbeat {
  /** False from `doubt()` to the answer. */
  readonly sure: boolean;
  /** A frame came in. In doubt only the answer counts. */
  alive(envelope: { id?: string }): void;
  /** Asks now. `woken`: the answer has to come soon, as the page has been asleep. */
  doubt(woken: boolean): void;
  stop(): void;
}

/**
 * Asks for a sign of life each `interval`, by the wall clock.
 *
 * The next ping's timer is set in the event of a frame: a chain of timers is slowed down to one a
 * minute in hidden tabs, too slow for the server; such a timer is not.
 */
export declare function createHeartbeat(options: HeartbeatOptions): Heartbeat;
