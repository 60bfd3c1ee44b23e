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
  /** The room that the message came through. */
  room?: string;
  /** For whom it was, if it came through no room: "user", "role:" and the role's name, or "all". */
  to?: string;
  /** The message's position in its stream. Those of one stream sort as texts. */
  cursor?: string;
  /** The client missed it, or asked for messages of the past. */
  replayed?: boolean;
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
  /** Milliseconds for which the server knows a message again that is sent twice. */
  idempotencyPeriod?: number;
  /** Where the streams of the user, of its roles and of everyone go on, by `to`. */
  cursors?: Record<string, string>;
  /**
   * Of the messages for the user: true if none is missing since the last connection, and those that
   * came meanwhile follow now. False if some are lost. Undefined on a first connection.
   */
  recovered?: boolean;
}

export interface RoomPayload {
  room: string;
  success: true;
  /** The position after which messages follow, if the room keeps messages. */
  cursor?: string;
  /** Only if the subscription had a position: says if nothing is missing since then. */
  recovered?: boolean;
  /** Who is in the room, if it has the option `presence`. See `realtime.presence`. */
  presence?: PresencePicture;
  [option: string]: unknown;
}

export interface UnsubscribedPayload {
  room: string;
  success: true;
  /** Why the server took this connection out of the room. */
  reason?: string;
}

export interface MessagePayload<C = any> {
  room: string;
  content: C;
  /** Missing if the sender is anonymous. */
  from?: { userId: UserId; name: string };
  /** Sent as volatile: the room keeps no copy, and a slow reader may miss it. */
  volatile?: true;
  /** Only from `sendToRoom`: this is an `ack`, as the server had the message already. */
  duplicate?: true;
}

/** A convention. A site declares further parts by merging, as with its own messages. */
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
  /** The part of the payload that does not fit, with `INVALID_PAYLOAD`: `items[0].amount`. */
  path?: string;
  /** What a command of the site adds to its error. */
  data?: unknown;
}

/** The server took what has no other answer. */
export interface AckPayload {
  /** It had this command before, and did not carry it out again. */
  duplicate?: true;
  /** The room of a state of `realtime.presence`. */
  room?: string;
}

/** A member on the wire: a user with its connections, or one connection (`per: "connection"`). */
export interface PresentMember {
  /** Unique in the room. */
  key: string;
  /** null for an anonymous connection. */
  userId: UserId | null;
  info: unknown;
  /** Milliseconds since the epoch. */
  since: number;
  /** How many connections it has in the room. */
  connections: number;
  state?: unknown;
}

/** All that an answer of the server tells of a room's members. */
export interface PresencePicture {
  /** The server's number of the last change. */
  rev: number;
  total: number;
  /** Missing if this connection may not see them, and if there are too many. */
  members?: PresentMember[];
  /** The key of the own member; missing if there is none, and in a message if it is as before. */
  me?: string | null;
}

/** An answer, or the changes since `prev`: `realtime.presence` puts them together. */
export interface PresencePayload extends PresencePicture {
  room: string;
  prev?: number;
  joined?: PresentMember[];
  updated?: PresentMember[];
  /** The keys of those that have left. */
  left?: string[];
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
 * The payload of any other type is `unknown`.
 */
export interface RealtimeMessages {
  connected: ConnectedPayload;
  subscribed: RoomPayload;
  unsubscribed: UnsubscribedPayload;
  error: ErrorPayload;
  pong: undefined;
  ack: AckPayload;
  presence: PresencePayload;
}

/** Payloads of what sites push, if `RealtimeMessages` has no others. */
interface UsualMessages {
  message: MessagePayload;
  notification: NotificationPayload;
  broadcast: any;
}

/**
 * The commands of the site, for `call`. `manage.py realtime_types` writes them. Without `payload`
 * the command takes none. With `room` it is for a room:
 *
 * ```ts
 * declare module "@pm-realtime/client" {
 *   interface RealtimeCommands {
 *     "auction.bid": { payload: { amount: string }; result: { pk: number }; room: `auction:${number}` };
 *     "notices.clear": { result: null };
 *   }
 * }
 * ```
 *
 * Payload and result of any other command are `unknown`.
 */
export interface RealtimeCommands {}

/**
 * The content of the messages of rooms, for `sendToRoom`. The names are those of the setting `ROOMS`.
 * `room` are the names that a route stands for:
 *
 * ```ts
 * declare module "@pm-realtime/client" {
 *   interface RealtimeRooms {
 *     support: { content: { text: string } };
 *     "auction:<int:pk>": { room: `auction:${number}`; content: string };
 *   }
 * }
 * ```
 *
 * The content of any other room is `unknown`.
 */
export interface RealtimeRooms {}

/**
 * What the members of rooms with `presence` show: their `info`, which the server gives them, and
 * the `state` that they set themselves. Names and `room` are as in `RealtimeRooms`:
 *
 * ```ts
 * declare module "@pm-realtime/client" {
 *   interface RealtimePresence {
 *     support: { info: { name: string; photo?: string }; state: { typing: true } };
 *     "auction:<int:pk>": { room: `auction:${number}`; info: { name: string } };
 *   }
 * }
 * ```
 *
 * In any other room `info` may have a `name`, and other parts of both are `unknown`.
 */
export interface RealtimePresence {}

/** The known commands, which editors suggest, and any other. */
export type CommandName = keyof RealtimeCommands | (string & {});

/** The payload of the command `T`. */
export type CommandPayload<T extends string> = T extends keyof RealtimeCommands
  ? RealtimeCommands[T] extends { payload: infer P }
    ? P
    : undefined
  : unknown;

/** The payload of the result of `T`. */
export type CommandResult<T extends string> = T extends keyof RealtimeCommands
  ? RealtimeCommands[T] extends { result: infer R }
    ? R
    : unknown
  : unknown;

/** The rooms that `T` is for; `undefined` if it is for none. */
export type CommandRoom<T extends string> = T extends keyof RealtimeCommands
  ? RealtimeCommands[T] extends { room: infer N }
    ? N
    : undefined
  : string | undefined;

/** Options of `call` for the command `T`. */
export type CallOptions<T extends string = string> = {
  /** Milliseconds after which the promise rejects with `TIMEOUT`, counted from the call. */
  timeout?: number | undefined;
} & (undefined extends CommandRoom<T> ? { room?: CommandRoom<T> } : { room: CommandRoom<T> });

/** The payload as an argument. It may be left out if it may be null, which the server then takes. */
export type PayloadArgument<T extends string> =
  Extract<null | undefined, CommandPayload<T>> extends never
    ? [payload: CommandPayload<T>]
    : [payload?: CommandPayload<T>];

/** The arguments of `call` after the type. */
export type CallArguments<T extends string> = undefined extends CommandRoom<T>
  ? [...payload: PayloadArgument<T>, options?: CallOptions<T>]
  : [payload: CommandPayload<T>, options: CallOptions<T>];

/** The known rooms, which editors suggest, and any other. */
export type RoomName = RoomOf<RealtimeRooms> | (string & {});

/** The rooms that the entries of `T` are for, by their names or their routes. */
type RoomOf<T, K extends keyof T = keyof T> = K extends K
  ? T[K] extends { room: infer N extends string }
    ? N
    : K
  : never;

type RouteOf<T, R extends string, K extends keyof T = keyof T> = K extends K
  ? R extends RoomOf<T, K>
    ? T[K]
    : never
  : never;

/** What `T` has for the room `R`; `never` if nothing. An exact name goes before a route. */
type EntryOf<T, R extends string> = R extends keyof T ? T[R] : RouteOf<T, R>;

type PartOf<E, P extends string, Usual> = [E] extends [never]
  ? Usual
  : E extends { [part in P]: infer V }
    ? V
    : Usual;

/** The content of messages to the room `R`. */
export type RoomContent<R extends string> = PartOf<EntryOf<RealtimeRooms, R>, "content", unknown>;

/** The `info` of the members of the room `R`. */
export type PresenceInfo<R extends string> = PartOf<
  EntryOf<RealtimePresence, R>,
  "info",
  { readonly name?: string; readonly [part: string]: unknown }
>;

/** The `state` of the members of the room `R`, if they have one. */
export type PresenceState<R extends string> = PartOf<
  EntryOf<RealtimePresence, R>,
  "state",
  { readonly [part: string]: unknown }
>;

/** The same to set: of a room without a declared state, any object. */
type SettableState<R extends string> = PartOf<
  EntryOf<RealtimePresence, R>,
  "state",
  { readonly [part: string]: any }
>;

/** Options of `sendToRoom`. */
export interface SendOptions {
  /**
   * For cursors and the like, of which only the latest matters: the room keeps no copy, the sender
   * gets none and no answer, a slow reader may miss it. Without a connection, or while the room is
   * not back after a break, it is dropped.
   */
  volatile?: boolean | undefined;
}

/**
 * - `connecting`: a socket is opening.
 * - `connected`: the server's `connected` frame has arrived.
 * - `waiting`: lost; the client tries again by itself.
 * - `stopped`: not connected, and the client does not try, except after a rest (`resting`) or the
 *   close code 4502.
 */
export type Status = "connecting" | "connected" | "waiting" | "stopped";

export interface StatusDetail {
  status: Status;
  /** The close code, with `waiting` and `stopped`. */
  code?: number;
  reason?: string;
  /**
   * Milliseconds until the next attempt, with `waiting`; 0 if the user left the page, and after
   * 1001, with which Firefox closes when a navigation or a download starts.
   */
  delay?: number;
  /**
   * With `stopped`: `maxReconnectAttempts` have failed. The client goes on after `connect()`, when
   * the network comes back, or when the page becomes visible.
   */
  resting?: boolean;
  /** With `stopped`: the browser refused to open a socket, for this reason. */
  error?: Error;
}

export interface CloseDetail {
  /**
   * 4001 also if the server did not answer this client; 1000 after `disconnect()`. After 4502 the
   * client connects again when the page becomes visible, although `willReconnect` is false.
   */
  code: number;
  /** The code's name in `CloseCode`, such as `SESSION_ENDED`; null if it has none. */
  name: string | null;
  /** The server's reason. Some servers drop it, so look at the code. */
  reason: string;
  willReconnect: boolean;
  /** Milliseconds until the next attempt, if there is one. */
  delay?: number;
  resting?: boolean;
  /**
   * The browser refused to open a socket (`code` is then 1006), because of a wrong option or a
   * policy of the page. The first `connect()` throws this error instead, except with `shared`.
   */
  error?: Error;
}

/** Where messages are lost: in a room, or among those for the user, a role or everyone. */
export type GapDetail = { room: string; to?: undefined } | { to: string; room?: undefined };

/**
 * Events of the client itself. Their names begin with a colon. A frame whose type begins with a
 * colon reaches only the handlers of "*". Those get frames only. A `connected` frame counts only as
 * the first of a connection; later ones are ignored.
 */
export interface RealtimeEvents {
  /** Connected. The wanted rooms were asked for, and the queue was sent. */
  ":open": ConnectedPayload;
  /** A connection, or an attempt to connect, ended. */
  ":close": CloseDetail;
  /** The status changed, or a new attempt begins. */
  ":status": StatusDetail;
  /** Messages are lost: load anew what matters. Later ones follow. It comes once for each loss. */
  ":gap": GapDetail;
  /** Every frame, after the handlers of its own type. */
  "*": Envelope<any>;
}

/** The argument of a handler of `T`. */
export type EventOf<T extends string> = T extends keyof RealtimeEvents
  ? RealtimeEvents[T]
  : T extends keyof RealtimeMessages
    ? Envelope<RealtimeMessages[T]>
    : T extends keyof UsualMessages
      ? Envelope<UsualMessages[T]>
      : Envelope<unknown>;

/** The known names, which editors suggest, and any other. */
export type EventName =
  | keyof RealtimeEvents
  | keyof RealtimeMessages
  | keyof UsualMessages
  | (string & {});

/** What the client needs of a WebSocket: the browsers' class has it, and that of the package `ws`. */
export type WebSocketClass = new (url: string, protocols?: string | string[]) => {
  readonly readyState: number;
  send(text: string): void;
  close(code?: number): void;
  addEventListener(type: "message" | "close" | "error", listener: (event: any) => void): void;
};

export interface RealtimeOptions {
  /** Connect at once. Without an address, as on a server (SSR), it does nothing. Default: false. */
  autoConnect?: boolean;
  /** Reconnect by itself, also when the user comes back to the page. Default: true. */
  reconnect?: boolean;
  /**
   * Failed attempts in a row before the client rests. A connection that ends within 5 s counts as
   * failed. `Infinity` means it never rests. Default: 5. */
  maxReconnectAttempts?: number;
  /** Bound of the first random wait in ms. It doubles with each attempt up to 30 s. Default: 1000. */
  reconnectDelay?: number;
  /**
   * An address (ws:, wss:, http:, https:) or a path on the page's host. Default: "/api/ws". Outside
   * a page only an address works.
   */
  url?: string;
  /** Subprotocols to offer instead of `pm-realtime.v1.batch` and `pm-realtime.v1`. */
  protocols?: string | string[];
  /**
   * One connection for all tabs of this site and user. With `true`, a page first asks the server
   * for its user. A text that only pages of this user have saves that request. Default: false. */
  shared?: boolean | string;
  /**
   * What the next page of this tab goes on with where the last one stopped: "own" are the messages
   * for the user, a role and everyone, "all" includes those of rooms, false is nothing. The tab's
   * sessionStorage has the positions, but no messages. Default: "own". */
  persist?: "own" | "all" | false;
  /** Log messages and statuses to the console. Default: false. */
  debug?: boolean;
  /** The class to use instead of the global one, which Node has from version 22. */
  WebSocket?: WebSocketClass;
}

export interface RealtimeState {
  readonly status: Status;
  readonly connected: boolean;
  /** The server's id of this connection. This and the next two are null while not connected. */
  readonly connectionId: string | null;
  readonly userId: UserId | null;
  readonly role: string | null;
  /** The code of the last close; null while connected and before the first close. */
  readonly closeCode: number | null;
}

/** A state that frameworks can subscribe to, for example with React's `useSyncExternalStore`. */
export interface Store<T> {
  /** Calls `listener()` after each change. Returns a function that ends this. */
  subscribe(listener: () => void): () => void;
  /** The present state. It is frozen, and the same object until something changes. */
  getSnapshot(): Readonly<T>;
}

/** Ends one subscription. */
export interface Leave {
  /**
   * Leaves the room, unless others have subscribed to it as well. If the answer to `subscribe` has
   * not come yet, that promise rejects with `CANCELLED`. A second call does nothing.
   */
  leave(): Promise<Envelope<UnsubscribedPayload>>;
}

/** From where a subscription wants a room's messages. Without either, from now on. */
export interface SubscribeOptions {
  /** The messages after this cursor. If some of them are not kept any more, there is a `:gap`. */
  since?: string | null | undefined;
  /** The last so many messages, or as many as are kept. With `since`, only after a gap. */
  last?: number | null | undefined;
}

/** The server's answer to `subscribe`. */
export interface Joined extends Envelope<RoomPayload>, Leave {
  room: string;
  /** The position after which messages follow, if the room keeps messages. */
  cursor?: string;
  /** Only if the subscription had a position: says if nothing is missing since then. */
  recovered?: boolean;
}

/** One use of a room: a promise of the server's answer. The answer has `leave()`, too. */
export interface Subscription extends Promise<Joined>, Leave {}

/** A member of the room `R`. It is frozen, and the same object until something of it changes. */
export interface PresenceMember<R extends string = string> {
  /** Unique in the room. */
  readonly key: string;
  /** null for an anonymous connection. */
  readonly userId: UserId | null;
  /** What the room's option `info` says of the user; by default its `name`. */
  readonly info: PresenceInfo<R>;
  /** When it came, in milliseconds since the epoch. */
  readonly since: number;
  /** How many connections it has in the room, such as its tabs. */
  readonly connections: number;
  /** What it shows of itself, see `setState`. */
  readonly state: PresenceState<R> | null;
}

/** The members of a room, as the page knows them. */
export interface PresenceSnapshot<R extends string = string> {
  /** By their arrival. Empty if this connection may not see them, and if there are too many. */
  readonly members: readonly PresenceMember<R>[];
  /** How many there are, even if `members` is empty. */
  readonly total: number;
  /** The page's own member, which also has the user's other tabs; null if it is not in `members`. */
  readonly me: PresenceMember<R> | null;
}

export interface PresenceEvents<R extends string = string> {
  /** Something has changed. */
  change: PresenceSnapshot<R>;
  /** This member has come since the page is in the room. */
  join: PresenceMember<R>;
  /** This member has left. */
  leave: PresenceMember<R>;
}

export interface SetStateOptions {
  /** Seconds after which the state becomes null by itself. */
  ttl?: number | undefined;
}

/**
 * Who is in a room. It is empty while the page is not in the room. If the connection is lost it stays
 * as it was, until the room is joined again or the client stops, as after a logout.
 */
export interface Presence<R extends string = string> extends PresenceSnapshot<R> {
  readonly room: R;
  /** The members, to subscribe to. */
  readonly store: Store<PresenceSnapshot<R>>;
  /**
   * Shows a state of the page's own member to the others: an object of up to 1 KB of JSON, or null.
   * Ten a second are sent; of more, the latest wins, and all their promises resolve with it. Without
   * a connection it waits until the room is joined again.
   */
  setState(state: SettableState<R> | null, options?: SetStateOptions): Promise<void>;
  /** Handles changes. Returns a function that ends this. */
  on<T extends keyof PresenceEvents<R>>(type: T, handler: (event: PresenceEvents<R>[T]) => void): () => void;
}

export interface Realtime extends RealtimeState {
  /** The wanted rooms. They are joined again after each reconnect. */
  readonly rooms: string[];
  /** The state above, to subscribe to. */
  readonly store: Store<RealtimeState>;

  /**
   * Connects, or tries again at once. Does nothing if a connection is open or opening. Throws if
   * the browser refuses to open a socket.
   */
  connect(): void;
  /** Closes until `connect()`. The rooms stay wanted, and queued messages are refused. */
  disconnect(): void;

  /**
   * The promises below reject with a {@link RealtimeError}. They may be ignored; that raises no
   * unhandled rejection.
   *
   * Messages that are sent without a connection wait for the next one, up to {@link MAX_QUEUED}.
   * One more refuses the oldest. They are sent as they were when they were queued. A value that
   * JSON cannot write, such as a BigInt, and an envelope without a type reject with a TypeError.
   */

  /** Sends an envelope with a `timestamp` and an `id`. Resolves when it was sent. */
  send(envelope: { type: string; payload?: unknown; room?: string; timestamp?: number; id?: string }): Promise<void>;
  /** The same, from type and payload. */
  sendMessage(type: string, payload?: unknown): Promise<void>;
  /**
   * Sends a message to a room. Resolves with the message that every subscriber gets. If the
   * connection is lost before that, the client sends it again on the next one, and the server carries
   * it out once: then it may resolve with an `ack`, whose payload has `duplicate`.
   */
  sendToRoom<C, R extends RoomName = string>(
    room: R,
    content: unknown extends RoomContent<R> ? C : RoomContent<R>,
    options?: SendOptions & { volatile?: false | undefined },
  ): Promise<Envelope<MessagePayload<unknown extends RoomContent<R> ? C : RoomContent<R>>>>;
  /** Resolves when a volatile message was sent, or dropped. What the server refuses is an `error`. */
  sendToRoom<R extends RoomName>(
    room: R,
    content: RoomContent<R>,
    options: SendOptions & { volatile: true },
  ): Promise<void>;
  sendToRoom<R extends RoomName>(
    room: R,
    content: RoomContent<R>,
    options: SendOptions,
  ): Promise<Envelope<MessagePayload<RoomContent<R>>> | void>;
  /**
   * Sends a command of the site. Resolves with the payload of its result, and rejects with the error
   * of the command. If the connection is lost before the answer, the client sends it again on the
   * next one, and the server carries it out once.
   */
  call<T extends CommandName>(type: T, ...rest: CallArguments<T>): Promise<CommandResult<T>>;
  /**
   * Joins a room and stays in it over reconnects, until all who subscribed have called `leave()`,
   * until `unsubscribe`, or until the server refuses or ends it. Without a connection the answer
   * comes with the next one. Rejects with a TypeError if `room` is not a string.
   *
   * If the room was joined before, a temporary refusal (`INTERNAL_ERROR`, `RATE_LIMITED`,
   * `ROOM_FULL`) or a timeout is retried, and the promise waits for the result.
   *
   * Without options, the first subscription starts where the page's `{% realtime_room %}` says. If
   * the page is in the room already, messages of the past reach the handlers that were added after
   * the room's last message.
   */
  subscribe(room: string, options?: SubscribeOptions): Subscription;
  /**
   * Leaves a room, for all who have subscribed to it. A component leaves for itself only with the
   * `leave()` of its subscription. Without a connection, resolves at once.
   */
  unsubscribe(room: string): Promise<Envelope<UnsubscribedPayload>>;
  /**
   * Who is in a room that has the option `presence`. It does not subscribe: the room has to be joined
   * with `subscribe`. It is one object for each room.
   */
  presence<R extends RoomName>(room: R): Presence<R>;
  /** Milliseconds to the server and back. Without a connection, rejects at once. */
  ping(): Promise<number>;

  /** Handles each frame of a type, or event of the client. Returns a function that ends this. */
  on<T extends EventName>(type: T, handler: (event: EventOf<T>) => void): () => void;
  /** The same, for one time only. */
  once<T extends EventName>(type: T, handler: (event: EventOf<T>) => void): () => void;
}

/** Creates a client of one pm_realtime server. */
export declare function createRealtime(options?: RealtimeOptions): Realtime;

/**
 * The codes of errors that the client raises itself. `TIMEOUT` is one of the server's as well: then
 * `envelope` is not null.
 */
export declare const LocalErrorCode: {
  /** Not connected, and not trying to be. */
  readonly NOT_CONNECTED: "NOT_CONNECTED";
  /** The connection was lost before the reply, for too long. The message may have arrived. */
  readonly CONNECTION_LOST: "CONNECTION_LOST";
  /** Connected, and no reply in time. */
  readonly TIMEOUT: "TIMEOUT";
  /** The oldest of too many messages that waited for a connection. */
  readonly QUEUE_FULL: "QUEUE_FULL";
  /** The message waited for a connection, and the next one was another user's. */
  readonly USER_CHANGED: "USER_CHANGED";
  /** `leave()` or `unsubscribe` came before the answer to `subscribe`. */
  readonly CANCELLED: "CANCELLED";
};
export type LocalErrorCode = (typeof LocalErrorCode)[keyof typeof LocalErrorCode];

/** Why a command failed. */
export declare class RealtimeError extends Error {
  constructor(code: ErrorCode | LocalErrorCode | (string & {}), envelope?: Envelope | null);
  /** The server's code, or one of the client's own. */
  readonly code: ErrorCode | LocalErrorCode | (string & {});
  /** The server's `error` envelope; null if the client raised the error. */
  readonly envelope: Envelope | null;
  readonly room: string | null;
  /** Milliseconds to wait, with `RATE_LIMITED`. */
  readonly retryAfter: number | null;
  /** The part of the payload that does not fit, with `INVALID_PAYLOAD`; "" is all of it. */
  readonly path: string | null;
  /** What the site's command added to its error; null if nothing. */
  readonly data: unknown;
}

/** How many messages may wait for a connection. One more refuses the oldest (`QUEUE_FULL`). */
export declare const MAX_QUEUED: 100;

/**
 * Milliseconds to wait before attempt number `attempt` (from 0): random between 0 and
 * `base * 2 ** attempt`, and at most 30 s. The random part spreads the clients of a server that
 * restarted.
 */
export declare function backoffDelay(attempt: number, base?: number, random?: () => number): number;
