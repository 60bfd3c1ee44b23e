import type { Envelope } from "./client.js";
import type { Bookmark } from "./shared_link.js";
import type { TabMessage } from "./shared_owner.js";

/** How many messages a tab remembers, to know one that comes again. */
export declare const REMEMBERED: 500;

/** How far a tab has read, and the rooms it was in. */
export interface Past {
  bookmark: Bookmark;
  rooms: string[];
}

/** `connected` for a tab that has missed something: without `resumed`. */
export declare function afresh(envelope: Envelope): Envelope;

export interface Member {
  readonly owner: string | null;
  /** Where the next end of this tab, or another tab, goes on. */
  readonly past: Past;
  join(): void;
  orphan(): void;
  doubt(): void;
  send(envelope: Envelope, urgent?: boolean): boolean;
  receive(message: TabMessage): void;
}

/** One tab's end of a shared socket: whom it listens to, and what it has no answer to. */
export declare function createMember(options: {
  id: string;
  userId?: string | number | null;
  past?: Past;
  post(message: TabMessage): void;
  onConnected(envelope: Envelope): void;
  onFrame(envelope: Envelope): void;
  onReady(): void;
  onEnd(code: number, reason: string, error?: Error): void;
}): Member;
