import type { ErrorCode } from "./constants.js";

export { CloseCode, ErrorCode, MessageType, mayReconnect } from "./constants.js";
export { BATCH_SUBPROTOCOL, SUBPROTOCOL } from "./constants.js";

/** One message on the wire. */
export interface Envelope<P = unknown> {
  type: string;
  payload: P;
  /** Milliseconds since the epoch. */
  timestamp: number;
  id?: string;
  /** On everything that came through a room. */
  room?: string;
  /** Where that room keeps history. */
  offset?: number;
  /** On what may have come before the break: which frame of the last connection it was. */
  resent?: number;
}

export type UserId = string | number;

export interface ConnectedPayload {
  /** null for an anonymous connection. */
  userId: UserId | null;
  connectionId: string;
  role: string | null;
  /** Milliseconds. */
  heartbeatInterval: number;
  heartbeatTimeout: number;
  /** The connection that dropped, where what was pushed meanwhile comes now: nothing is missing. */
  resumed?: string;
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
  from?: { userId: UserId; name: string };
}

/** By convention. What a site sends besides, it declares by merging, as with its own messages. */
export interface NotificationPayload {
  title: string;
  body?: string;
  type?: "info" | "success" | "warning" | "error";
  action?: { label: string; url: string };
}

export interface ErrorPayload {
  code: string;
  message: string;
  room?: string;
  /** Milliseconds to wait, with `RATE_LIMITED`. */
  retryAfter?: number;
}

/**
 * The payload of each type of message. A site adds its own:
 *
 * ```ts
 * declare module "@pm-realtime/client" {
 *   interface RealtimeMessages {
 *     export: { by: string };
 *   }
 * }
 * ```
 *
 * The payload of a type that is not in here is `unknown`.
 */
export interface RealtimeMessages {
  connected: ConnectedPayload;
  subscribed: RoomPayload;
  unsubscribed: UnsubscribedPayload;
  message: MessagePayload;
  notification: NotificationPayload;
  broadcast: any;
  error: ErrorPayload;
  pong: undefined;
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
  /** Milliseconds until the next attempt, with `waiting`; 0 where the page was left, once back. */
  delay?: number;
  /**
   * With `stopped`: `maxReconnectAttempts` came to nothing. It goes on with `connect()`, when the
   * network comes back, or when the page becomes visible.
   */
  resting?: boolean;
  /** With `stopped`: the browser refused to open a socket at all, and why. */
  error?: Error;
}

export interface CloseDetail {
  /** 4001 also where this client gave a silent server up; 1000 after `disconnect()`. */
  code: number;
  /** The code's name in `CloseCode`, such as `SESSION_ENDED`; null where it has none. */
  name: string | null;
  /** What the server said; some servers drop it, so look at the code. */
  reason: string;
  willReconnect: boolean;
  /** Milliseconds until the next attempt, where one comes. */
  delay?: number;
  resting?: boolean;
  /**
   * The browser refused to open a socket at all (`code` is then 1006): a wrong option, or a policy
   * of the page. `connect()` throws it itself where it can, which is not so with `shared`.
   */
  error?: Error;
}

/**
 * Events of the client itself. A colon in front keeps them apart from the wire: a frame whose type
 * begins with one reaches only the handlers of "*", and "*" gets frames only.
 */
export interface RealtimeEvents {
  /** Connected; the wanted rooms have been asked for and the queue is out. */
  ":open": ConnectedPayload;
  /** A connection, or an attempt at one, is over, and why. */
  ":close": CloseDetail;
  /** The status changed, or begins anew. */
  ":status": StatusDetail;
  /** Every frame, after the handlers of its own type. */
  "*": Envelope<any>;
}

/** What a handler of `type` gets. */
export type EventOf<T extends string> = T extends keyof RealtimeEvents
  ? RealtimeEvents[T]
  : T extends keyof RealtimeMessages
    ? Envelope<RealtimeMessages[T]>
    : Envelope<unknown>;

/** The known names, for editors to offer, and any other. */
export type EventName = keyof RealtimeEvents | keyof RealtimeMessages | (string & {});

export interface RealtimeOptions {
  /** Connect at once. Default: false. */
  autoConnect?: boolean;
  /** Come back by itself: after a close nobody asked for, and when the page is gone back to. Default: true. */
  reconnect?: boolean;
  /**
   * Attempts in a row that may fail, or connections that may end within 5 s, before it rests;
   * `Infinity` never rests. Default: 5. */
  maxReconnectAttempts?: number;
  /** Bound of the first random wait in ms; it doubles with each attempt, up to 30 s. Default: 1000. */
  reconnectDelay?: number;
  /** ws:, wss:, http: or https: address, or a path on this host. Default: "/api/ws" on this host. */
  url?: string;
  /** Subprotocols to offer, in place of `pm-realtime.v1.batch` and `pm-realtime.v1`. */
  protocols?: string | string[];
  /**
   * One connection for all tabs of this site and user. `true` asks the server first whom it takes
   * the page for; a text that only pages of this user have spares it that. Default: false. */
  shared?: boolean | string;
  /** Say on the console what is sent, received and becomes of the connection. Default: false. */
  debug?: boolean;
  /** The class to use in place of the global one. */
  WebSocket?: typeof globalThis.WebSocket;
}

export interface RealtimeState {
  readonly status: Status;
  readonly connected: boolean;
  /** The server's id of this connection; null while not connected, as with the next two. */
  readonly connectionId: string | null;
  readonly userId: UserId | null;
  readonly role: string | null;
  /** Of the last close; null while connected and before the first. */
  readonly closeCode: number | null;
}

/** A state that frameworks can read, as React's `useSyncExternalStore` wants it. */
export interface Store<T> {
  /** Calls `listener()` after each change; returns what ends that. */
  subscribe(listener: () => void): () => void;
  /** The state of now: frozen, and the same object until something in it changes. */
  getSnapshot(): Readonly<T>;
}

export interface Realtime extends RealtimeState {
  /** The rooms wanted: joined again after each reconnect. */
  readonly rooms: string[];
  /** The state above for frameworks, to subscribe to. */
  readonly store: Store<RealtimeState>;

  /**
   * Connects, or tries anew at once; does nothing where a connection is there or opening. Throws
   * where the options make no WebSocket.
   */
  connect(): void;
  /** Closes for good, until `connect()`. The wanted rooms stay wanted, what was queued is refused. */
  disconnect(): void;

  /**
   * The promises below reject with a {@link RealtimeError} where a thing does not come about. They
   * may be ignored: that raises no unhandled rejection.
   *
   * What is sent without a connection waits for the next, up to {@link MAX_QUEUED}; then the oldest
   * is refused. It goes out as it was when it was sent. What JSON cannot write, such as a BigInt,
   * throws a TypeError at once.
   */

  /** Sends an envelope, adding `timestamp` and `id`. Resolves as it goes out; replies are events. */
  send(envelope: { type: string; payload?: unknown; timestamp?: number; id?: string }): Promise<void>;
  /** The same, from its parts. */
  sendMessage(type: string, payload?: unknown): Promise<void>;
  /** Sends a message to a room. Resolves with the message as every subscriber gets it. */
  sendToRoom<C = unknown>(room: string, content: C): Promise<Envelope<MessagePayload<C>>>;
  /**
   * Joins a room and stays in it over reconnects, until `unsubscribe` or until the server refuses
   * or ends it. Without a connection the answer comes with the next. A room it has been in is asked
   * for again after a refusal that may pass (`INTERNAL_ERROR`, `RATE_LIMITED`, `ROOM_FULL`) or no
   * answer in time; the promise then waits for the outcome. What is no string rejects with a
   * TypeError.
   */
  subscribe(room: string): Promise<Envelope<RoomPayload>>;
  /** Leaves a room. Without a connection that is done at once. */
  unsubscribe(room: string): Promise<Envelope<UnsubscribedPayload>>;
  /** The milliseconds to the server and back; rejects at once without a connection. */
  ping(): Promise<number>;

  /** Calls the handler on each frame of that type, or event of the client. Returns what takes it off. */
  on<T extends EventName>(type: T, handler: (event: EventOf<T>) => void): () => void;
  /** The same, for one time. */
  once<T extends EventName>(type: T, handler: (event: EventOf<T>) => void): () => void;
}

/** A client of one pm_realtime server. */
export declare function createRealtime(options?: RealtimeOptions): Realtime;

/** `code` of a rejection that this client decided on itself; never on the wire. */
export declare const LocalErrorCode: {
  /** Not connected, and not trying to be. */
  readonly NOT_CONNECTED: "NOT_CONNECTED";
  /** The connection went away after sending and before the reply: it may have arrived, or not. */
  readonly CONNECTION_LOST: "CONNECTION_LOST";
  /** Connected, and no reply in time. */
  readonly TIMEOUT: "TIMEOUT";
  /** The oldest of too many that waited for a connection. */
  readonly QUEUE_FULL: "QUEUE_FULL";
  /** It waited for a connection, and that turned out to be another user's. */
  readonly USER_CHANGED: "USER_CHANGED";
  /** `unsubscribe` came before the answer to `subscribe`. */
  readonly CANCELLED: "CANCELLED";
};
export type LocalErrorCode = (typeof LocalErrorCode)[keyof typeof LocalErrorCode];

/** Why a command failed. */
export declare class RealtimeError extends Error {
  constructor(code: ErrorCode | LocalErrorCode | (string & {}), envelope?: Envelope | null);
  /** The server's code, or one this client decided on itself. */
  readonly code: ErrorCode | LocalErrorCode | (string & {});
  /** The server's `error` envelope; null where the client decided. */
  readonly envelope: Envelope | null;
  readonly room: string | null;
  /** Milliseconds to wait, with `RATE_LIMITED`. */
  readonly retryAfter: number | null;
}

/** What may wait for a connection; one more refuses the oldest, with `QUEUE_FULL`. */
export declare const MAX_QUEUED: 100;

/**
 * Milliseconds to wait before attempt number `attempt` (from 0): random between 0 and
 * `base * 2 ** attempt`, never over 30 s. From 0, so that the clients of a server that went away do
 * not come back as one.
 */
export declare function backoffDelay(attempt: number, base?: number, random?: () => number): number;
