import type { Envelope } from "./client.js";

/** The envelope with what the wire wants of each: a time and an id. */
export declare function complete<E extends { type: string; timestamp?: number; id?: string }>(
  envelope: E,
): E & { timestamp: number; id: string };

/** The envelope in a frame, or null where it holds none. */
export declare function decode(data: unknown): Envelope | null;

/** A new random name, which nothing else will ever have. */
export declare function newId(): string;
