import type { RealtimeError } from "./replies.js";

export { backoffDelay } from "./backoff.js";
export { CloseCode, ErrorCode, LocalErrorCode, MessageType, mayReconnect } from "./constants.js";
export { RealtimeError } from "./replies.js";

/** What may wait for a connection; more is refused with `QUEUE_FULL`. */
export declare const MAX_QUEUED: 100;

/** One message on the wire. */
export interface Envelope<P = any> {
  type: string;
  payload?: P;
  /** Milliseconds since the epoch. */
  timestamp: number;
  id?: string;
  /** On everything that came through a room. */
  room?: string;
  /** Where that room keeps history. */
  offset?: number;
}

export interface ConnectedPayload {
  /** null for an anonymous connection. */
  userId: string | number | null;
  connectionId: string;
  role: string | null;
  heartbeatInterval: number;
  heartbeatTimeout: number;
}

export interface RoomPayload {
  room: string;
  success: true;
  [option: string]: unknown;
}

export interface UnsubscribedPayload {
  room: string;
  success: true;
  /** Where the server took this connection out of the room. */
  reason?: string;
}

export interface MessagePayload<C = any> {
  room: string;
  content: C;
  /** Missing where the sender is anonymous. */
  from?: { userId: string | number; name: string };
}

export interface NotificationPayload {
  title: string;
  body?: string;
  type?: "info" | "success" | "warning" | "error";
  action?: { label: string; url: string };
  [key: string]: unknown;
}

export interface ErrorPayload {
  code: string;
  message: string;
  room?: string;
  /** Milliseconds to wait, with `RATE_LIMITED`. */
  retryAfter?: number;
}

export interface WireEvents {
  connected: Envelope<ConnectedPayload>;
  subscribed: Envelope<RoomPayload>;
  unsubscribed: Envelope<UnsubscribedPayload>;
  message: Envelope<MessagePayload>;
  notification: Envelope<NotificationPayload>;
  broadcast: Envelope;
  error: Envelope<ErrorPayload>;
  pong: Envelope<undefined>;
  /** Every frame, after the handlers of its own type. */
  "*": Envelope;
}

/**
 * - `connecting`: a socket is opening.
 * - `connected`: the server's `connected` frame is in.
 * - `waiting`: lost; the next attempt comes by itself.
 * - `stopped`: not connected, and nothing comes by itself, except after a rest (`resting`).
 */
export type Status = "connecting" | "connected" | "waiting" | "stopped";

export interface StatusDetail {
  status: Status;
  /** Of the close, with `waiting` and `stopped`. */
  code?: number;
  reason?: string;
  /** Milliseconds until the next attempt, with `waiting`. */
  delay?: number;
  /**
   * With `stopped`: `maxReconnectAttempts` came to nothing. It goes on with `connect()`, when the
   * network comes back, or when the page becomes visible.
   */
  resting?: boolean;
}

export interface CloseDetail {
  /** 4001 also where this client gave a silent server up; 1000 after `disconnect()`. */
  code: number;
  reason: string;
  willReconnect: boolean;
  /** Milliseconds until the next attempt, where one comes. */
  delay?: number;
  resting?: boolean;
}

/**
 * Events of the client itself. A colon in front keeps them apart from the wire: a frame whose type
 * begins with one reaches only the handlers of "*", and "*" gets frames only.
 */
export interface LocalEvents {
  /** Connected; the wanted rooms have been asked for and the queue is out. */
  ":open": ConnectedPayload;
  /** A connection, or an attempt at one, is over. */
  ":close": CloseDetail;
  /** The status changed, or begins anew. */
  ":status": StatusDetail;
}

type EventMap = WireEvents & LocalEvents;

export interface RealtimeOptions {
  /** ws:, wss:, http: or https: address, or a path on this host. Default: "/api/ws" on this host. */
  url?: string;
  /** Connect at once. Default: false. */
  autoConnect?: boolean;
  /** Come back by itself after a close nobody asked for. Default: true. */
  reconnect?: boolean;
  /** Attempts in a row that may fail before it rests; `Infinity` never rests. Default: 5. */
  maxReconnectAttempts?: number;
  /** Bound of the first random wait in ms; it doubles with each attempt, up to 30 s. Default: 1000. */
  reconnectDelay?: number;
  /** The class to use in place of the global one. */
  WebSocket?: typeof globalThis.WebSocket;
}

export interface Realtime {
  readonly connected: boolean;
  readonly status: Status;
  /** The server's id of this connection; null while not connected, as with the next two. */
  readonly connectionId: string | null;
  readonly userId: string | number | null;
  readonly role: string | null;
  /** The rooms wanted: joined again after each reconnect. */
  readonly rooms: string[];

  /** Connects, or tries anew at once; does nothing where a connection is there or opening. */
  connect(): void;
  /** Closes for good, until `connect()`. The wanted rooms stay wanted, what was queued is dropped. */
  disconnect(): void;

  /**
   * Sends an envelope, adding `timestamp` and `id`; without a connection it waits for the next.
   * Returns false where it was dropped: after `disconnect()`, after a close that ends it, or
   * with {@link MAX_QUEUED} waiting.
   */
  send(envelope: Partial<Envelope> & { type: string }): boolean;

  /**
   * The promises below give the server's reply, or reject with a {@link RealtimeError}. They may
   * be ignored: that raises no unhandled rejection.
   */

  /** Sends a message to a room. Without a connection it waits for the next. */
  sendToRoom<C = unknown>(room: string, content: C): Promise<Envelope<MessagePayload<C>>>;
  /**
   * Joins a room and stays in it over reconnects, until `unsubscribe` or until the server refuses
   * or ends it. Without a connection the answer comes with the next. A room it has been in is asked
   * for again after a refusal that may pass (`INTERNAL_ERROR`, `RATE_LIMITED`, `ROOM_FULL`) or no
   * answer in time; the promise then waits for the outcome.
   */
  subscribe(room: string): Promise<Envelope<RoomPayload>>;
  unsubscribe(room: string): Promise<Envelope<UnsubscribedPayload>>;
  /** Asks the server for a `pong`; rejects at once without a connection. */
  ping(): Promise<Envelope>;

  /** Calls the handler on each frame of that type, or local event. Returns what takes it off. */
  on<T extends keyof EventMap>(type: T, handler: (event: EventMap[T]) => void): () => void;
  on<P = any>(type: string, handler: (envelope: Envelope<P>) => void): () => void;
  /** The same, for one time. */
  once<T extends keyof EventMap>(type: T, handler: (event: EventMap[T]) => void): () => void;
  once<P = any>(type: string, handler: (envelope: Envelope<P>) => void): () => void;
}

/** A client of one pm_realtime server. */
export declare function createRealtime(options?: RealtimeOptions): Realtime;
