import type { InjectionKey, Ref } from "vue";

import type { Realtime, RealtimeOptions, RealtimeState } from "./client.js";

/** The state of the connection as readonly refs, the same for all components. */
export type RealtimeRefs = {
  readonly [Key in keyof RealtimeState]: Readonly<Ref<RealtimeState[Key]>>;
};

/**
 * What {@link Realtime} has, for one component: its handlers and rooms end as it is unmounted. A
 * room is left when no component is in it any more; `connect` and `disconnect` are for all of them.
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
 * The options of the first who asks are those of the page (`{% realtime_client %}` asks first).
 * With `autoConnect` it connects unless it has been connected before. On a server it is inert:
 * not connected, and what is asked of it is refused with `NOT_CONNECTED`.
 */
export declare function useWebSocket(options?: RealtimeOptions): RealtimeInComponent;

/** `app.provide(realtimeKey, realtime)` gives an app, or a test, a client of its own. */
export declare const realtimeKey: InjectionKey<Realtime>;
