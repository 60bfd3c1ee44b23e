import { getCurrentScope, onScopeDispose, shallowReadonly, shallowRef, toValue } from "vue";

import { createRealtime, LocalErrorCode } from "./client.js";
import { unsubscribed } from "./core/envelope.js";
import { ignorable } from "./core/promises.js";
import { pageRealtime } from "./core/singleton.js";
import { inertPresence } from "./vue/presence.js";
import { allReadonly, isServer, providedRealtime, refused, sharedBy, toRefs } from "./vue/scope.js";

export { usePresence } from "./vue/presence.js";
export { realtimeKey } from "./vue/scope.js";

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

function refusedSubscription(code) {
  const subscription = refused(code);
  return Object.assign(subscription, { leave: () => subscription });
}
