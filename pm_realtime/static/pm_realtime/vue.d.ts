import type { InjectionKey, MaybeRefOrGetter, Ref } from "vue";

import type {
  CommandName,
  CommandResult,
  CommandRoom,
  PayloadArgument,
  Presence,
  PresenceMember,
  Realtime,
  RealtimeError,
  RealtimeOptions,
  RealtimeState,
  RoomName,
} from "./client.js";

/** The state of the connection as readonly refs. All components share them. */
export type RealtimeRefs = {
  readonly [Key in keyof RealtimeState]: Readonly<Ref<RealtimeState[Key]>>;
} & {
  /**
   * True after a connection that goes on without a gap, false from a gap on. Undefined without a
   * connection, and on the first one of a tab, which has nothing to recover.
   */
  readonly recovered: Readonly<Ref<boolean | undefined>>;
};

/**
 * The client for one component. Its handlers and subscriptions end when the component is
 * unmounted. A room is left when nobody has subscribed to it any more. `unsubscribe` ends the
 * subscriptions of this component; if no component has one, it leaves the room for the page.
 * `connect` and `disconnect` concern all components, and so does the object of `presence`: a handler
 * of it stays until its function is called. See `usePresence`.
 */
export interface RealtimeInComponent
  extends RealtimeRefs,
    Pick<
      Realtime,
      | "connect"
      | "disconnect"
      | "send"
      | "sendMessage"
      | "sendToRoom"
      | "call"
      | "subscribe"
      | "unsubscribe"
      | "presence"
      | "ping"
      | "on"
      | "once"
    > {}

/**
 * The page's one connection, in a component's `setup` or any other effect scope.
 *
 * The first caller sets the options, and `{% realtime_client %}` comes first. With `autoConnect`
 * it connects, unless it has been connected before. On a server (SSR) it is never connected, and
 * its methods reject with `NOT_CONNECTED`.
 */
export declare function useWebSocket(options?: RealtimeOptions): RealtimeInComponent;

/** Options of `useCommand` for the command `T`. They are read at each call. */
export type UseCommandOptions<T extends string = string> = {
  /** Milliseconds after which a call rejects with `TIMEOUT`. */
  timeout?: number | undefined;
} & (undefined extends CommandRoom<T>
  ? { room?: MaybeRefOrGetter<CommandRoom<T>> | undefined }
  : { room: MaybeRefOrGetter<CommandRoom<T>> });

/** A command of the site in one component, and how its calls went, as readonly refs. */
export interface CommandInComponent<T extends string = string> {
  /**
   * Calls the command. The promise is that of `Realtime.call`; it may be ignored. A call goes on if
   * the component is unmounted.
   */
  call(...payload: PayloadArgument<T>): Promise<CommandResult<T>>;
  /** True while a call has no answer. */
  readonly pending: Readonly<Ref<boolean>>;
  /**
   * Why the last call failed; null from the next call on. A payload that JSON cannot write is a
   * TypeError.
   */
  readonly error: Readonly<Ref<RealtimeError | null>>;
  /** What the last call that succeeded has returned; undefined before. */
  readonly result: Readonly<Ref<CommandResult<T> | undefined>>;
}

/**
 * A command of the site, in a component's `setup` or any other effect scope. On a server (SSR) its
 * calls reject with `NOT_CONNECTED`, and change none of its refs.
 */
export declare function useCommand<T extends CommandName>(
  type: T,
  ...options: undefined extends CommandRoom<T>
    ? [options?: UseCommandOptions<T>]
    : [options: UseCommandOptions<T>]
): CommandInComponent<T>;

/** Who is in a room, for one component, as readonly refs. */
export interface PresenceInComponent<R extends string = string>
  extends Pick<Presence<R>, "setState" | "on"> {
  /** By their arrival. Empty if this connection may not see them, and if there are too many. */
  readonly members: Readonly<Ref<readonly PresenceMember<R>[]>>;
  /** How many there are, even if `members` is empty. */
  readonly total: Readonly<Ref<number>>;
  /** The page's own member; null if it is not in `members`. */
  readonly me: Readonly<Ref<PresenceMember<R> | null>>;
  /** Why the room was not joined; null if it was, and until then. */
  readonly error: Readonly<Ref<RealtimeError | null>>;
}

/**
 * Who is in a room, in a component's `setup` or any other effect scope. It subscribes to the room, and
 * leaves it when the component is unmounted, or when `room` is another one; null stands for no room.
 * Then `setState` rejects with `NOT_IN_ROOM`. On a server (SSR) there is nobody.
 */
export declare function usePresence<R extends RoomName>(
  room: MaybeRefOrGetter<R | null | undefined>,
): PresenceInComponent<R>;

/** `app.provide(realtimeKey, realtime)` gives an app, or a test, a client of its own. */
export declare const realtimeKey: InjectionKey<Realtime>;
