import type { CloseDetail, Envelope, RealtimeOptions, Status, StatusDetail } from "./client.js";

/** A connection that ends sooner than this counts as one more failure in a row, in ms. */
export declare const STABLE_AFTER: 5000;

export type ConnectionSettings = RealtimeOptions &
  Required<Pick<RealtimeOptions, "reconnect" | "maxReconnectAttempts" | "reconnectDelay">>;

export interface ConnectionHooks {
  /** The `connected` frame, once a connection, with `status` being `connected` already. */
  onConnected(envelope: Envelope): void;
  /** Every frame, the `connected` one included, after `onConnected`. */
  onFrame(envelope: Envelope): void;
  /** What `send` refused while connected may go out now. */
  onReady(): void;
  onStatus(detail: StatusDetail): void;
  /** Before the status of it. `final`: no attempt follows by itself, rests aside. */
  onClose(detail: CloseDetail & { final: boolean }): void;
}

/** What a client talks through. */
export interface Connection {
  readonly status: Status;
  connect(): void;
  disconnect(): void;
  /**
   * Whether it went out. Where not, the client keeps it for `onReady` or the next `onConnected`;
   * what is `urgent` goes out even while it is in doubt whether the other end is there.
   */
  send(envelope: Envelope, urgent?: boolean): boolean;
}

/**
 * Keeps one socket up: opens it, and opens the next when it is lost.
 *
 * A loss so soon after waking lies back in the sleep: no crowd comes back with this client, which
 * does so at once.
 */
export declare function createConnection(
  settings: ConnectionSettings,
  hooks: ConnectionHooks,
): Connection;

/** The WebSocket address; a path or nothing is taken on the page's own host. */
export declare function resolveUrl(url?: string): string;
