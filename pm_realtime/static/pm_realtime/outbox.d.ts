import type { Deferred } from "./replies.js";
import type { LocalErrorCode } from "./errors.js";

/** What may wait for a connection; one more refuses the oldest, with `QUEUE_FULL`. */
export declare const MAX_QUEUED: 100;

export interface Outbox<Item> {
  /** Sends, behind what waits already. */
  push(item: Item): void;
  flush(): void;
  rejectAll(code: LocalErrorCode): void;
}

/** What waits for a connection, in order. `transmit(item)` says whether the item went out. */
export declare function createOutbox<Item extends { deferred: Deferred<any> }>(
  transmit: (item: Item) => boolean,
): Outbox<Item>;
