import { getCurrentScope, onScopeDispose, shallowReadonly, toValue, watch } from "vue";

import { createRealtime, ErrorCode, LocalErrorCode } from "../client.js";
import { pageRealtime } from "../core/singleton.js";
import { isServer, providedRealtime, refused, sharedBy, toRefs } from "./scope.js";

/** Who is in a room that the page is not in. */
const NOBODY = Object.freeze({ members: Object.freeze([]), total: 0, me: null });

/** Who is in a room, for one component or effect scope. The types are in vue.d.ts. */
export function usePresence(room) {
  const { error, ...state } = toRefs({ ...NOBODY, error: null });
  const refs = Object.fromEntries(
    Object.entries({ ...state, error }).map(([key, ref]) => [key, shallowReadonly(ref)]),
  );
  if (isServer()) {
    const { setState, on } = inertPresence();
    return { ...refs, setState, on };
  }
  const realtime = providedRealtime() ?? pageRealtime(createRealtime);
  const { components } = sharedBy(realtime);
  const subscriptions = new Map();
  components.add(subscriptions);
  if (getCurrentScope()) onScopeDispose(() => components.delete(subscriptions));
  // Each has an `off` while there is a room.
  const listeners = new Set();
  let presence = null;

  function show(snapshot) {
    for (const key of Object.keys(state)) state[key].value = snapshot[key];
  }

  /** Returns a function that ends it. */
  function enter(name) {
    const { store, on } = (presence = realtime.presence(name));
    show(store.getSnapshot());
    const off = store.subscribe(() => {
      error.value = null;
      show(store.getSnapshot());
    });
    for (const listener of listeners) listener.off = on(listener.type, listener.handler);
    const subscription = realtime.subscribe(name);
    subscriptions.set(subscription, name);
    subscription.catch((reason) => {
      if (subscriptions.has(subscription)) error.value = reason;
      if (!realtime.rooms.includes(name)) subscriptions.delete(subscription);
    });
    return () => {
      presence = null;
      off();
      for (const listener of listeners) listener.off();
      subscriptions.delete(subscription);
      subscription.leave();
    };
  }

  watch(
    () => toValue(room),
    (name, _, onCleanup) => {
      error.value = null;
      show(NOBODY);
      if (typeof name === "string") onCleanup(enter(name));
    },
    { immediate: true },
  );

  return {
    ...refs,

    setState: (value, options) => presence?.setState(value, options) ?? refused(ErrorCode.NOT_IN_ROOM),

    on(type, handler) {
      const listener = { type, handler, off: () => {} };
      if (presence) listener.off = presence.on(type, handler);
      listeners.add(listener);
      return () => {
        listeners.delete(listener);
        listener.off();
      };
    },
  };
}

/** The object of a room on a server. */
export function inertPresence(room) {
  return {
    room,
    ...NOBODY,
    store: { subscribe: () => () => {}, getSnapshot: () => NOBODY },
    setState: () => refused(LocalErrorCode.NOT_CONNECTED),
    on: () => () => {},
  };
}
