import {
  getCurrentScope,
  hasInjectionContext,
  inject,
  onScopeDispose,
  readonly,
  shallowReadonly,
  shallowRef,
  ssrContextKey,
  toValue,
  watch,
} from "vue";

import { createRealtime, ErrorCode, LocalErrorCode, RealtimeError } from "./client.js";
import { unsubscribed } from "./core/envelope.js";
import { ignorable } from "./core/promises.js";
import { pageRealtime } from "./core/singleton.js";

/** `app.provide(realtimeKey, realtime)` gives an app, or a test, a client of its own. */
export const realtimeKey = Symbol("pm_realtime");

/** The state of a client on a server, which never connects. */
const INERT = {
  status: "stopped",
  connected: false,
  connectionId: null,
  userId: null,
  role: null,
  closeCode: null,
  recovered: undefined,
};

/** Who is in a room that the page is not in. */
const NOBODY = Object.freeze({ members: Object.freeze([]), total: 0, me: null });

// By client: the refs that all components share, and the subscriptions of each.
const shared = new WeakMap();

/** The page's client for one component or effect scope. The types are in vue.d.ts. */
export function useWebSocket(options = {}) {
  if (isServer()) return inertWebSocket();
  const realtime = providedRealtime() ?? pageRealtime(createRealtime, options);
  const { refs, components } = sharedBy(realtime);
  const subscriptions = new Map();
  const offs = new Set();
  let disposed = false;

  function listen(type, handler, method) {
    if (disposed) return () => {};
    const off = method(type, handler);
    offs.add(off);
    return () => {
      offs.delete(off);
      off();
    };
  }

  if (getCurrentScope()) {
    onScopeDispose(() => {
      disposed = true;
      for (const off of offs) off();
      offs.clear();
      for (const subscription of subscriptions.keys()) subscription.leave();
      components.delete(subscriptions);
    });
  }

  // Only once: after a disconnect() or a logout, the next component does not connect again.
  const { status, closeCode } = realtime;
  if (options.autoConnect && status === "stopped" && closeCode === null) realtime.connect();

  return {
    ...refs,
    connect: realtime.connect,
    disconnect: realtime.disconnect,
    send: realtime.send,
    sendMessage: realtime.sendMessage,
    sendToRoom: realtime.sendToRoom,
    call: realtime.call,
    presence: realtime.presence,
    ping: realtime.ping,

    subscribe(room, position) {
      if (disposed) return refusedSubscription(LocalErrorCode.CANCELLED);
      const subscription = realtime.subscribe(room, position);
      subscriptions.set(subscription, room);
      components.add(subscriptions);
      subscription.catch(() => {
        if (!realtime.rooms.includes(room)) subscriptions.delete(subscription);
      });
      return subscription;
    },

    /** Only this component leaves the room, if components have subscribed to it. */
    unsubscribe(room) {
      const isOf = (each) => [...each.values()].includes(room);
      if (![...components].some(isOf)) return realtime.unsubscribe(room);
      let left = Promise.resolve(unsubscribed(room));
      for (const [subscription, name] of subscriptions) {
        if (name !== room) continue;
        subscriptions.delete(subscription);
        left = subscription.leave();
      }
      return left;
    },

    on: (type, handler) => listen(type, handler, realtime.on),

    once(type, handler) {
      const off = listen(
        type,
        (event) => {
          off();
          handler(event);
        },
        realtime.on,
      );
      return off;
    },
  };
}

/** A command of the site in one component or effect scope. The types are in vue.d.ts. */
export function useCommand(type, options = {}) {
  const [pending, error, result] = [shallowRef(false), shallowRef(null), shallowRef()];
  const refs = {
    pending: shallowReadonly(pending),
    error: shallowReadonly(error),
    result: shallowReadonly(result),
  };
  if (isServer()) return { call: () => refused(LocalErrorCode.NOT_CONNECTED), ...refs };
  const provided = providedRealtime();
  // How many calls there were, how many have no answer, and the number of the one with the result.
  let count = 0;
  let open = 0;
  let latest = 0;
  let disposed = false;
  if (getCurrentScope()) {
    onScopeDispose(() => {
      disposed = true;
    });
  }

  function settle(number, failure, value) {
    open -= 1;
    if (disposed) return;
    pending.value = open > 0;
    if (failure) {
      if (number === count) error.value = failure;
    } else if (number > latest) {
      latest = number;
      result.value = value;
    }
  }

  function call(payload) {
    // Only now, as another component may have the options of the page's client.
    const realtime = provided ?? pageRealtime(createRealtime);
    const { room, timeout } = options;
    const answer = realtime.call(type, payload, { room: toValue(room), timeout });
    count += 1;
    open += 1;
    const number = count;
    if (!disposed) {
      pending.value = true;
      error.value = null;
    }
    return ignorable(
      answer.then(
        (value) => {
          settle(number, null, value);
          return value;
        },
        (failure) => {
          settle(number, failure);
          throw failure;
        },
      ),
    );
  }

  return { call, ...refs };
}

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
    const off = store.subscribe(() => show(store.getSnapshot()));
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

const providedRealtime = () => (hasInjectionContext() ? inject(realtimeKey, null) : null);

function sharedBy(realtime) {
  if (!shared.has(realtime)) {
    const sources = toRefs(realtime.store.getSnapshot());
    realtime.store.subscribe(() => {
      const snapshot = realtime.store.getSnapshot();
      for (const [key, source] of Object.entries(sources)) source.value = snapshot[key];
    });
    const refs = allReadonly({ ...sources, recovered: recoveredRef(realtime) });
    shared.set(realtime, { refs, components: new Set() });
  }
  return shared.get(realtime);
}

/** Undefined without a connection, so that each one that misses something is a change. */
function recoveredRef(realtime) {
  const recovered = shallowRef();
  realtime.on(":open", (payload) => {
    recovered.value = payload.recovered;
  });
  realtime.on(":gap", () => {
    recovered.value = false;
  });
  realtime.on(":close", () => {
    recovered.value = undefined;
  });
  return recovered;
}

function toRefs(values) {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, shallowRef(value)]));
}

function allReadonly(refs) {
  return Object.fromEntries(Object.entries(refs).map(([key, ref]) => [key, readonly(ref)]));
}

// Not by `document` alone: some test environments have one on the server, too.
function isServer() {
  if (hasInjectionContext() && inject(ssrContextKey, null)) return true;
  return typeof document === "undefined";
}

function inertWebSocket() {
  const nothing = () => {};
  const refuse = () => refused(LocalErrorCode.NOT_CONNECTED);
  const off = () => nothing;
  return {
    ...allReadonly(toRefs(INERT)),
    connect: nothing,
    disconnect: nothing,
    send: refuse,
    sendMessage: refuse,
    sendToRoom: refuse,
    call: refuse,
    subscribe: () => refusedSubscription(LocalErrorCode.NOT_CONNECTED),
    unsubscribe: refuse,
    presence: inertPresence,
    ping: refuse,
    on: off,
    once: off,
  };
}

function inertPresence(room) {
  return {
    room,
    ...NOBODY,
    store: { subscribe: () => () => {}, getSnapshot: () => NOBODY },
    setState: () => refused(LocalErrorCode.NOT_CONNECTED),
    on: () => () => {},
  };
}

function refused(code) {
  return ignorable(Promise.reject(new RealtimeError(code)));
}

function refusedSubscription(code) {
  const subscription = refused(code);
  return Object.assign(subscription, { leave: () => subscription });
}
