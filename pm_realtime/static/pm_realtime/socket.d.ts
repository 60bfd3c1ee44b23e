import type { Envelope } from "./client.js";

/** How long a socket may take until its `connected` frame, in ms. */
export declare const CONNECT_TIMEOUT: 15000;

export interface SocketOptions {
  url: string;
  WebSocket: typeof globalThis.WebSocket;
  ping(): void;
  onConnected(envelope: Envelope): void;
  onFrame(envelope: Envelope): void;
  onClose(code: number, reason: string): void;
}

export interface Socket {
  send(text: string): void;
  close(): void;
  check(): void;
}

/** The life of one WebSocket; `onClose` comes once, and not at all after `close()`. */
export declare function openSocket(options: SocketOptions): Socket;
