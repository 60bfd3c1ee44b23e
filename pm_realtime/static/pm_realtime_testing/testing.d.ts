import type { Envelope, UserId } from "../pm_realtime/client.js";

export interface FakeServerOptions {
  /**
   * Accepts connections and answers commands as the server does, each in a microtask. Default:
   * true. With false the test does all that, by the methods of a connection.
   */
  automatic?: boolean;
  /** Who is logged in; `userId: null` for nobody. */
  userId?: UserId | null;
  name?: string;
  role?: string;
  /** Milliseconds. */
  heartbeatInterval?: number;
  heartbeatTimeout?: number;
}

/** The server's end of one socket. */
export interface FakeConnection {
  readonly socket: WebSocket;
  readonly url: string;
  readonly protocols: string | string[] | undefined;
  readonly open: boolean;
  /** What the client sent on it, oldest first. */
  readonly sent: Envelope<any>[];
  readonly lastSent: Envelope<any> | undefined;
  sentOf(type: string): Envelope<any>[];
  /** The rooms it is in; the automatic server keeps them. */
  readonly rooms: Set<string>;
  /** What the client closed it with; null where it did not. */
  readonly closedWith: number | null;
  /** Opens it and sends the `connected` frame. */
  accept(payload?: Record<string, unknown>): void;
  /** Sends an envelope. */
  frame(type: string, payload?: unknown, rest?: Partial<Envelope>): void;
  /** Sends a frame as it is. */
  text(data: unknown): void;
  /** Answers a command. */
  reply(command: { id?: string }, type: string, payload?: unknown): void;
  /** Answers a command with an error. */
  refuse(command: { id?: string }, code: string, details?: Record<string, unknown>): void;
  /** Ends it from the server's side; 1006 where the network would. */
  close(code?: number, reason?: string): void;
}

export interface FakeServer {
  /** For the option `WebSocket` of `createRealtime`. */
  readonly WebSocket: typeof globalThis.WebSocket;
  /** All that there were, oldest first. */
  readonly connections: FakeConnection[];
  readonly last: FakeConnection | undefined;
  /** What clients sent, over all connections. */
  readonly sent: Envelope<any>[];
  sentOf(type: string): Envelope<any>[];
  /** Who is logged in from the next connection on. */
  logIn(user: Pick<FakeServerOptions, "userId" | "name" | "role">): void;
  /** Sends to every open connection, or to those in `room`. */
  push(type: string, payload?: unknown, options?: { room?: string; id?: string; offset?: number }): void;
  /** The automatic server refuses the next command of that type. */
  refuse(type: string, code: string, details?: Record<string, unknown>): void;
  /** Closes every open connection. */
  close(code?: number, reason?: string): void;
  /** Closes every connection and refuses new ones, until `comeBack()`. */
  goDown(code?: number): void;
  comeBack(): void;
  /** Puts its `WebSocket` in place of the global one, until `uninstall()`. */
  install(): FakeServer;
  uninstall(): void;
}

/** A server inside the page or process, to try code on without a network. */
export declare function createFakeServer(options?: FakeServerOptions): FakeServer;
