import type { Envelope } from "./client.js";
import type { TabMessage } from "./shared_owner.js";

/** How many messages a tab remembers, to know one that comes again. */
export declare const REMEMBERED: 500;

export interface Member {
  readonly owner: string | null;
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
  post(message: TabMessage): void;
  onConnected(envelope: Envelope): void;
  onFrame(envelope: Envelope): void;
  onReady(): void;
  onEnd(code: number, reason: string, error?: Error): void;
}): Member;
