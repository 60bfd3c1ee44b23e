import type { Envelope } from "./client.js";

/** A connection, and how many frames of it were read after `connected`; empty before the first. */
export type Bookmark = [] | [connectionId: string | undefined, count: number];

export interface LinkListener {
  onConnected(envelope: Envelope): void;
  onFrame(envelope: Envelope, bookmark: Bookmark): void;
  onReady(): void;
  onClose(code: number, reason: string, error?: Error): void;
}

export interface Link {
  readonly sure: boolean;
  send(envelope: Envelope): boolean;
  listen(listener: LinkListener | null): void;
  /** With `code`; by default with that of a client that wants no more of it. */
  close(code?: number): void;
  doubt(woken: boolean): void;
}

export interface Place {
  url: string;
  protocols?: string | string[];
  WebSocket: typeof globalThis.WebSocket;
}

/** The real socket of a browser. Its listener can change: what comes while there is none waits. */
export declare function openLink(place: Place, bookmark?: Bookmark): Link;
