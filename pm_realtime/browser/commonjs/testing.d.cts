import type {
  CommandName,
  CommandPayload,
  CommandResult,
  CommandRoom,
  Envelope,
  PresenceInfo,
  PresenceState,
  PresentMember,
  RoomName,
  UserId,
} from "./client.cjs";

export interface FakeServerOptions {
  /**
   * Accepts connections and answers commands as the real server does, each in a microtask.
   * Default: true. With false, the test does that with the methods of a connection.
   */
  automatic?: boolean;
  /** The user that is logged in; null for an anonymous connection. */
  userId?: UserId | null;
  name?: string;
  role?: string;
  /** Milliseconds. */
  heartbeatInterval?: number;
  heartbeatTimeout?: number;
  /** Milliseconds for which a repeated message is recognised. Default: 300,000 if automatic. */
  idempotencyPeriod?: number;
  /** Messages that are kept of each room, of the user, of the role and of everyone. 0: none. */
  history?: number;
}

/** Where the fake server sends a message. */
export interface FakePushOptions {
  /** To those in the room. Without it, to those that `to` names, by default the user. */
  room?: string;
  /** `"user"`, `"all"` or `"role:<name>"`. */
  to?: "user" | "all" | `role:${string}`;
  id?: string;
  /** The id of a connection that does not get it. */
  exclude?: string;
}

/** The user of a command; null for an anonymous one. */
export type FakeUser = { userId: UserId; name: string; role: string } | null;

/** What a handler gets of a command beside its payload. */
export interface FakeRequest<T extends string = string> {
  room: CommandRoom<T>;
  user: FakeUser;
  /** Undefined if the client expects no answer. */
  id: string | undefined;
}

/** Answers a command of the site with what it returns, or with the `code` of what it throws. */
export type FakeHandler<T extends string = string> = (
  payload: unknown extends CommandPayload<T> ? any : CommandPayload<T>,
  request: FakeRequest<T>,
) => FakeResult<CommandResult<T>> | Promise<FakeResult<CommandResult<T>>>;

type FakeResult<R> = null extends R ? R | void : R;

export interface FakeHandlerOptions {
  /** With false, a client need not be in the room. Default: true. */
  joined?: boolean;
}

/** How a room tells of its members. Each is as in the room's option of that name. */
export interface FakePresenceOptions {
  /** Default: `"user"`, so that an anonymous connection is no member. */
  per?: "user" | "connection";
  /** Members of which connections are told; of more, only the number. Default: 200. */
  max?: number;
  /** With false, connections are told the number only. Default: true. */
  see?: boolean;
  /** With false, the connections that come from now on are no members. Default: true. */
  beSeen?: boolean;
  /** Milliseconds for which a member stays that has lost its last connection. Default: 10,000. */
  grace?: number;
}

/** What a test says of a member. */
export interface FakeMember<R extends string = string> {
  info?: PresenceInfo<R>;
  state?: PresenceState<R> | null;
  /** Default: 1. */
  connections?: number;
  /** Milliseconds since the epoch. Default: now. */
  since?: number;
}

/** The members of a room: those of the test, and the connections that have joined it. */
export interface FakePresence<R extends string = string> {
  /** As connections are told, by their arrival. */
  readonly members: PresentMember[];
  readonly total: number;
  /**
   * Somebody else comes. Without a `key` it is the user's id; without both it is a new one, of an
   * anonymous visitor. Returns the key.
   */
  join(member: FakeMember<R> & { userId?: UserId | null; key?: string }): string;
  /** Something of a member changes. */
  update(key: string | number, changes: FakeMember<R>): void;
  leave(key: string | number): void;
}

/** The server's end of one socket. */
export interface FakeConnection {
  readonly socket: WebSocket;
  readonly url: string;
  readonly protocols: string | string[] | undefined;
  readonly open: boolean;
  /** The client's messages on this connection, oldest first. */
  readonly sent: Envelope<any>[];
  readonly lastSent: Envelope<any> | undefined;
  sentOf(type: string): Envelope<any>[];
  /** The rooms that the connection is in, if the server is automatic. */
  readonly rooms: Set<string>;
  /** The code with which the client closed it; null if it did not. */
  readonly closedWith: number | null;
  /** Opens it and sends the `connected` frame. */
  accept(payload?: Record<string, unknown>): void;
  /** Sends an envelope. */
  frame(type: string, payload?: unknown, rest?: Partial<Envelope>): void;
  /** Sends a text frame unchanged. */
  text(data: unknown): void;
  /** Answers a command. */
  reply(command: { id?: string }, type: string, payload?: unknown): void;
  /** Answers a command with an error. */
  refuse(command: { id?: string }, code: string, details?: Record<string, unknown>): void;
  /** Closes it from the server's side; 1006 stands for a lost network. */
  close(code?: number, reason?: string): void;
}

export interface FakeServer {
  /** For the option `WebSocket` of `createRealtime`. */
  readonly WebSocket: typeof globalThis.WebSocket;
  /** All connections so far, oldest first. */
  readonly connections: FakeConnection[];
  readonly last: FakeConnection | undefined;
  /** The clients' messages on all connections. */
  readonly sent: Envelope<any>[];
  sentOf(type: string): Envelope<any>[];
  /** Changes the user, from the next connection on. */
  logIn(user: Pick<FakeServerOptions, "userId" | "name" | "role">): void;
  /**
   * Sends to the user's open connections, or to those in a room. Others can recover it, except a
   * `message` whose payload has `volatile: true`.
   */
  push(type: string, payload?: unknown, options?: FakePushOptions): void;
  /**
   * Carries out the commands of that type, as the real server does: those of a room in their order,
   * and one that comes again under its `id` only once. An error that the handler throws refuses the
   * command with its `code`, `message`, `data`, `path` and `retryAfter`. Without a `code` it becomes
   * `INTERNAL_ERROR`, and the console has it. Returns a function that takes the handler back.
   */
  handle<T extends CommandName>(
    type: T,
    handler: FakeHandler<T>,
    options?: FakeHandlerOptions,
  ): () => void;
  /**
   * Gives the room the option `presence`, for those who subscribe from now on, and has others come and
   * go. The connections in the room are members, too, with the `name` of the user. Again for the same
   * room, it changes the given options only.
   */
  presence<R extends RoomName>(room: R, options?: FakePresenceOptions): FakePresence<R>;
  /** The automatic server refuses the next command of that type. */
  refuse(type: string, code: string, details?: Record<string, unknown>): void;
  /** Closes every open connection. */
  close(code?: number, reason?: string): void;
  /** Closes every connection and refuses new ones, until `comeBack()`. */
  goDown(code?: number): void;
  comeBack(): void;
  /** Cuts every connection, as a lost network does. New ones hang until `recover()`. */
  drop(): void;
  /** Ends `drop()`. Resolves when a client is back, in its rooms, and has what it missed. */
  recover(): Promise<FakeConnection>;
  /** Forgets all messages, so that clients that come back are told `gap`. */
  forgetHistory(): void;
  /** Replaces the global `WebSocket` until `uninstall()`. */
  install(): FakeServer;
  uninstall(): void;
}

/** A server inside the page or process, for tests without a network. */
export declare function createFakeServer(options?: FakeServerOptions): FakeServer;
