import type { Guard } from "./shared_guard.js";
import type { Bookmark, Link, Place } from "./shared_link.js";

/** How long what comes on a new socket is kept for tabs that are slow to join it, in ms. */
export declare const KEPT_FOR: 5000;

/** The code with which a tab closes the socket when another is to go on with it. */
export declare const HANDED_OVER: 4000;

/** What goes over the channel between the tabs; see shared_seat.d.ts. */
export type TabMessage = { kind: string; [detail: string]: unknown };

export interface Owner {
  receive(message: TabMessage): void;
  stop(): void;
}

/** The tab that holds the real socket, for all tabs of its group, its own among them. */
export declare function createOwner(options: {
  id: string;
  place: Place;
  link?: Link | null;
  bookmark?: Bookmark;
  guard: Guard;
  post(message: TabMessage): void;
  watch(tab: string, onGone: () => void): () => void;
  onIdle(): void;
}): Owner;
