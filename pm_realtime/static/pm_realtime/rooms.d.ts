import type { Envelope, RoomPayload } from "./client.js";
import type { LocalErrorCode } from "./errors.js";

/** How far beyond `retryAfter` the first repetition may come, in ms; the bound then doubles. */
export declare const RETRY_SPREAD: 250;

export interface Rooms {
  readonly names: string[];
  /** Wants the room; the promise settles with the server's answer, over reconnects. */
  want(room: string): Promise<Envelope<RoomPayload>>;
  /** No longer wants the room; by the server's choice only where it is not being asked for. */
  forget(room: string, byServer?: boolean): void;
  /** A new connection is in no room. */
  joinAll(): void;
  /** Nothing is asked for again before the next connection. */
  connectionLost(): void;
  /** No connection will come by itself: nobody is left waiting; the rooms stay wanted. */
  rejectAll(code: LocalErrorCode): void;
}

/**
 * The rooms a client wants to be in, whatever becomes of its connections; `ask` sends a
 * `subscribe` and gives its reply.
 *
 * Of each it knows the `reply` it waits for, the `deferred` of whoever asked, whether it has
 * `joined` at some time, and the `failures` in a row on this connection: what may pass is asked for
 * again at `timer`, as a connection that lasts would not ask.
 */
export declare function createRooms(ask: (room: string) => Promise<Envelope>): Rooms;
