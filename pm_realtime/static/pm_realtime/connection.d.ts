import type { CloseDetail, Envelope, RealtimeOptions, Status, StatusDetail } from "./client.js";

/** A connection that ends sooner than this counts as one more failure in a row, in ms. */
export declare const STABLE_AFTER: 5000;

export interface ConnectionHooks {
  ping(): void;
  onConnected(envelope: Envelope): void;
  onFrame(envelope: Envelope): void;
  onStatus(detail: StatusDetail): void;
  onClose(detail: CloseDetail & { final: boolean }): void;
}

export interface Connection {
  readonly status: Status;
  readonly trying: boolean;
  connect(): void;
  disconnect(): void;
  send(text: string): void;
}

/** Keeps one socket up: opens it, and opens the next when it is lost. */
export declare function createConnection(
  settings: Required<Omit<RealtimeOptions, "url" | "WebSocket">> & RealtimeOptions,
  hooks: ConnectionHooks,
): Connection;

/** The WebSocket address; a path or nothing is taken on the page's own host. */
export declare function resolveUrl(url?: string): string;
