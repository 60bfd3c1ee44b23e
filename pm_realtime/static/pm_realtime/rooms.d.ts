import type { Envelope } from "./client.js";

export interface Rooms {
  readonly names: string[];
  want(room: string): Promise<Envelope>;
  forget(room: string): void;
  joinAll(): void;
  connectionLost(): void;
  rejectAll(code: string, message: string): void;
}

/** How far beyond `retryAfter` the first repetition may come, in ms; the bound then doubles. */
export declare const RETRY_SPREAD: 250;

/** The rooms a client wants to be in; `ask` sends a `subscribe` and gives its reply. */
export declare function createRooms(ask: (room: string) => Promise<Envelope>): Rooms;
