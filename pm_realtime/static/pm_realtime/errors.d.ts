import type { Envelope } from "./client.js";
import type { ErrorCode } from "./constants.js";

/** `code` of a rejection that this client decided on itself; never on the wire. */
export declare const LocalErrorCode: {
  /** Not connected, and not trying to be. */
  readonly NOT_CONNECTED: "NOT_CONNECTED";
  /** The connection went away after sending and before the reply: it may have arrived, or not. */
  readonly CONNECTION_LOST: "CONNECTION_LOST";
  /** Connected, and no reply in time. */
  readonly TIMEOUT: "TIMEOUT";
  /** The oldest of too many that waited for a connection. */
  readonly QUEUE_FULL: "QUEUE_FULL";
  /** It waited for a connection, and that turned out to be another user's. */
  readonly USER_CHANGED: "USER_CHANGED";
  /** `unsubscribe` came before the answer to `subscribe`. */
  readonly CANCELLED: "CANCELLED";
};
export type LocalErrorCode = (typeof LocalErrorCode)[keyof typeof LocalErrorCode];

/** Why a command failed. */
export declare class RealtimeError extends Error {
  constructor(code: ErrorCode | LocalErrorCode | (string & {}), envelope?: Envelope | null);
  /** The server's code, or one this client decided on itself. */
  readonly code: ErrorCode | LocalErrorCode | (string & {});
  /** The server's `error` envelope; null where the client decided. */
  readonly envelope: Envelope | null;
  readonly room: string | null;
  /** Milliseconds to wait, with `RATE_LIMITED`. */
  readonly retryAfter: number | null;
}
