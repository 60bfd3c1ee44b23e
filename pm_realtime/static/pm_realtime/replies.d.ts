import type { Envelope } from "./client.js";
import type { ErrorCode, LocalErrorCode } from "./constants.js";

/** How long a command that went out may stay unanswered, in ms. */
export declare const REPLY_TIMEOUT: 15000;

/** Why a command failed. */
export declare class RealtimeError extends Error {
  constructor(code: string, message: string, envelope?: Envelope | null);
  /** The server's code, or one this client decided on itself. */
  readonly code: ErrorCode | LocalErrorCode | (string & {});
  /** The server's `error` envelope; null where the client decided. */
  readonly envelope: Envelope | null;
  readonly room: string | null;
  /** Milliseconds to wait, with `RATE_LIMITED`. */
  readonly retryAfter: number | null;
}

export interface Deferred<T> {
  promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** A promise with its two ends, that may be ignored without an unhandled rejection. */
export declare function createDeferred<T = Envelope>(): Deferred<T>;

export interface Replies {
  expect(id: string, type: string): Promise<Envelope>;
  sent(id: string): void;
  settle(envelope: Envelope): void;
  reject(id: string, code: string, message: string): void;
  connectionLost(): void;
  rejectAll(code: string, message: string): void;
}

/** Commands waiting for the reply that carries their `id`. */
export declare function createReplies(): Replies;
