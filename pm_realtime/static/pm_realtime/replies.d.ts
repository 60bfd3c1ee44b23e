import type { Envelope } from "./client.js";
import type { LocalErrorCode } from "./errors.js";

/** How long a command that went out may stay unanswered, in ms. */
export declare const REPLY_TIMEOUT: 15000;

export interface Deferred<T> {
  promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** A promise with its two ends, that may be ignored without an unhandled rejection. */
export declare function createDeferred<T = Envelope>(): Deferred<T>;

/** The promise, which may now be ignored without an unhandled rejection. */
export declare function ignorable<T>(promise: Promise<T>): Promise<T>;

export interface Replies {
  /** The command went out: time runs from here, as what waits for a connection is not late. */
  sent(envelope: Envelope, type: string, deferred: Deferred<Envelope>): void;
  /** An answer, or the refusal of what was too large to be read, which has no `id`. */
  settle(envelope: Envelope): void;
  rejectAll(code: LocalErrorCode): void;
}

/** Commands that went out and wait for the reply that carries their `id`. */
export declare function createReplies(): Replies;
