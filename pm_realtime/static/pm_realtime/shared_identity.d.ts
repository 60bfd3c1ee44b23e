import type { Link, Place } from "./shared_link.js";

/** Finds out whom the server takes this page for; returns what cancels it. */
export declare function identify(options: {
  place: Place;
  locks: LockManager;
  onKnown(found: { userId: string | number | null; link: Link; done: () => void }): void;
  onFailed(code: number, reason: string, error?: Error): void;
  onDenied(): void;
}): () => void;
