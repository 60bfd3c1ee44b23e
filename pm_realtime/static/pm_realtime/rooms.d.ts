import type { Envelope } from "./client.js";

export interface Rooms {
  readonly names: string[];
  want(room: string, connected: boolean): Promise<Envelope>;
  forget(room: string): void;
  joinAll(): void;
  rejectAll(code: string, message: string): void;
}

/** The rooms a client wants to be in; `ask` sends a `subscribe` and gives its reply. */
export declare function createRooms(ask: (room: string) => Promise<Envelope>): Rooms;
