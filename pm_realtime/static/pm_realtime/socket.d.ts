import type { Envelope } from "./client.js";

/** What browsers call a connection that broke, or never was. */
export declare const LOST: 1006;

/** How long a socket may take until its `connected` frame, in ms. */
export declare const CONNECT_TIMEOUT: 15000;

export interface SocketOptions {
  url: string;
  protocols?: string | string[];
  WebSocket: typeof globalThis.WebSocket;
  onConnected(envelope: Envelope): void;
  /** Every frame but the `connected` one. */
  onFrame(envelope: Envelope): void;
  /** What was held while in doubt may go out. */
  onReady(): void;
  /** `error`: there cannot be a socket, now or later. */
  onClose(code: number, reason: string, error?: Error): void;
  /** A shared socket is there again, after `onClose`: another tab has it. */
  onWake?(): void;
}

export interface Socket {
  /** False while it is in doubt whether the other end is there. */
  readonly sure: boolean;
  /** Whether it went out; in doubt only what is `urgent` does. */
  send(envelope: object, urgent?: boolean): boolean;
  close(code?: number): void;
  /** Asks the server for a sign of life; `woken`: with little patience. */
  doubt(woken: boolean): void;
}

/**
 * The life of one WebSocket; `onClose` comes once, and not at all after `close()`. Throws what the
 * constructor of the WebSocket throws.
 */
export declare function openSocket(options: SocketOptions): Socket;
