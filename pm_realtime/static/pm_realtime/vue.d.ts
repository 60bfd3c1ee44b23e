import type { InjectionKey, Ref } from "vue";

import type { Realtime, RealtimeOptions, RealtimeState } from "./client.js";

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
 * `connect` and `disconnect` concern all components.
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
      | "subscribe"
      | "unsubscribe"
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

/** `app.provide(realtimeKey, realtime)` gives an app, or a test, a client of its own. */
export declare const realtimeKey: InjectionKey<Realtime>;
