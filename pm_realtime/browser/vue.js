import {
  getCurrentScope,
  hasInjectionContext,
  inject,
  onScopeDispose,
  readonly,
  shallowRef,
  ssrContextKey,
} from "vue";

import { LocalErrorCode, MessageType, RealtimeError } from "./client.js";
import { complete } from "./core/envelope.js";
import { ignorable } from "./core/promises.js";
import { pageRealtime } from "./core/singleton.js";

export const realtimeKey = Symbol("pm_realtime");

const INERT = {
  status: "stopped",
  connected: false,
  connectionId: null,
  userId: null,
  role: null,
  closeCode: null,
};

// For each client, what all its components have in common.
const links = new WeakMap();

export function useWebSocket(options = {}) {
  if (isServer()) return inertWebSocket();
  const provided = hasInjectionContext() ? inject(realtimeKey, null) : null;
  const realtime = provided ?? pageRealtime(options);
  const { refs, holders } = linkOf(realtime);
  const rooms = new Set();
  const offs = new Set();
  let gone = false;

  function release(room) {
    if (!rooms.delete(room)) return false;
    const holder = holders.get(room);
    holder.count -= 1;
    if (holder.count > 0) return false;
    holders.delete(room);
    return !holder.wantedBefore && realtime.rooms.includes(room);
  }

  function hold(room) {
    if (rooms.has(room)) return;
    rooms.add(room);
    if (!holders.has(room)) {
      // A room that the page itself has joined outlives its components.
      holders.set(room, { count: 0, wantedBefore: realtime.rooms.includes(room) });
    }
    holders.get(room).count += 1;
  }

  function listen(type, handler, method) {
    if (gone) return () => {};
    const off = method(type, handler);
    offs.add(off);
    return () => {
      offs.delete(off);
      off();
    };
  }

  if (getCurrentScope()) {
    onScopeDispose(() => {
      gone = true;
      for (const off of offs) off();
      offs.clear();
      for (const room of [...rooms]) if (release(room)) realtime.unsubscribe(room);
    });
  }

  // Once only: who has disconnected, or was logged out, stays so when the next component comes.
  const { status, closeCode } = realtime;
  if (options.autoConnect && status === "stopped" && closeCode === null) realtime.connect();

  return {
    ...refs,
    connect: realtime.connect,
    disconnect: realtime.disconnect,
    send: realtime.send,
    sendMessage: realtime.sendMessage,
    sendToRoom: realtime.sendToRoom,
    ping: realtime.ping,

    subscribe(room) {
      if (gone) return refused(LocalErrorCode.CANCELLED);
      hold(room);
      const joined = realtime.subscribe(room);
      joined.catch(() => {
        if (!realtime.rooms.includes(room)) release(room);
      });
      return joined;
    },

    unsubscribe(room) {
      const held = rooms.has(room);
      if (release(room) || (!held && !holders.has(room))) return realtime.unsubscribe(room);
      // Others are in it still: for this component it is left all the same.
      const payload = { room, success: true };
      return Promise.resolve(complete({ type: MessageType.UNSUBSCRIBED, payload }));
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

function linkOf(realtime) {
  if (!links.has(realtime)) {
    const sources = toRefs(realtime.store.getSnapshot());
    realtime.store.subscribe(() => {
      const snapshot = realtime.store.getSnapshot();
      for (const [key, source] of Object.entries(sources)) source.value = snapshot[key];
    });
    links.set(realtime, { refs: allReadonly(sources), holders: new Map() });
  }
  return links.get(realtime);
}

function toRefs(values) {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, shallowRef(value)]));
}

function allReadonly(refs) {
  return Object.fromEntries(Object.entries(refs).map(([key, ref]) => [key, readonly(ref)]));
}

// Some test environments have a document on the server too.
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
    subscribe: refuse,
    unsubscribe: refuse,
    ping: refuse,
    on: off,
    once: off,
  };
}

function refused(code) {
  return ignorable(Promise.reject(new RealtimeError(code)));
}
