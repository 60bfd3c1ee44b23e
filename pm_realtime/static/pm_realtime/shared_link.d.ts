import type { Envelope } from "./client.js";

export interface LinkListener {
  onConnected(envelope: Envelope): void;
  onFrame(envelope: Envelope): void;
  onReady(): void;
  onClose(code: number, reason: string, error?: Error): void;
}

export interface Link {
  readonly sure: boolean;
  send(envelope: Envelope): boolean;
  listen(listener: LinkListener | null): void;
  close(): void;
  doubt(woken: boolean): void;
}

export interface Place {
  url: string;
  protocols?: string | string[];
  WebSocket: typeof globalThis.WebSocket;
}

/** The real socket of a browser. Its listener can change: what comes while there is none waits. */
export declare function openLink(place: Place): Link;
