import type { Envelope } from "./client.js";
import type { Link, Place } from "./shared_link.js";
import type { Past } from "./shared_member.js";

export interface Seat {
  send(envelope: Envelope, urgent?: boolean): boolean;
  close(): void;
  doubt(woken: boolean): void;
}

/** One tab in a group: a member of it, and its owner when the lock comes to this tab. */
export declare function takeSeat(
  options: {
    name: string;
    place: Place;
    userId?: string | number | null;
    past?: Past;
    link?: Link;
    done?(): void;
    onConnected(envelope: Envelope): void;
    onFrame(envelope: Envelope): void;
    onReady(): void;
    onEnd(code: number, reason: string, error: Error | undefined, past: Past): void;
    onDenied(): void;
  },
  page: typeof globalThis,
): Seat;
