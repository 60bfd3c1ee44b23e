import {
  getCurrentScope,
  hasInjectionContext,
  inject,
  onScopeDispose,
  readonly,
  shallowRef,
  ssrContextKey,
} from "vue";

import { LocalErrorCode, MessageType, RealtimeError, createRealtime } from "./client.js";
import { complete } from "./core/envelope.js";
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
};

// By client: the refs that all components share, and how many components use each room.
const shared = new WeakMap();

/** The page's client for one component or effect scope. The types are in vue.d.ts. */
export function useWebSocket(options = {}) {
  if (isServer()) return inertWebSocket();
  const provided = hasInjectionContext() ? inject(realtimeKey, null) : null;
  const realtime = provided ?? pageRealtime(createRealtime, options);
  const { refs, uses } = sharedBy(realtime);
  const rooms = new Set();
  const offs = new Set();
  let disposed = false;

  /** Says if the client should leave the room, because no component uses it any more. */
  function release(room) {
    if (!rooms.delete(room)) return false;
    const use = uses.get(room);
    use.count -= 1;
    if (use.count > 0) return false;
    uses.delete(room);
    return !use.wantedBefore && realtime.rooms.includes(room);
  }

  function hold(room) {
    if (rooms.has(room)) return;
    rooms.add(room);
    if (!uses.has(room)) {
      // If the page joined the room before any component, it stays in it after them.
      uses.set(room, { count: 0, wantedBefore: realtime.rooms.includes(room) });
    }
    uses.get(room).count += 1;
  }

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
      for (const room of [...rooms]) if (release(room)) realtime.unsubscribe(room);
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
    ping: realtime.ping,

    subscribe(room) {
      if (disposed) return refused(LocalErrorCode.CANCELLED);
      hold(room);
      const joined = realtime.subscribe(room);
      joined.catch(() => {
        if (!realtime.rooms.includes(room)) release(room);
      });
      return joined;
    },

    unsubscribe(room) {
      const held = rooms.has(room);
      if (release(room) || (!held && !uses.has(room))) return realtime.unsubscribe(room);
      // Other components still use the room, so only this one leaves it.
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

function sharedBy(realtime) {
  if (!shared.has(realtime)) {
    const sources = toRefs(realtime.store.getSnapshot());
    realtime.store.subscribe(() => {
      const snapshot = realtime.store.getSnapshot();
      for (const [key, source] of Object.entries(sources)) source.value = snapshot[key];
    });
    shared.set(realtime, { refs: allReadonly(sources), uses: new Map() });
  }
  return shared.get(realtime);
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
