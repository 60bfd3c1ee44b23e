import type { Envelope } from "./client.js";

/** The envelope with what the wire wants of each: a time and an id. */
export declare function complete<E extends { type: string; timestamp?: number; id?: string }>(
  envelope: E,
): E & { timestamp: number; id: string };

/** The envelopes in a frame, which holds one or an array of them. */
export declare function decode(data: unknown): Envelope[];

/** A new random name, which nothing else will ever have. */
export declare function newId(): string;
