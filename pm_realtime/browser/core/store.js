import { createEvents } from "./events.js";

/** Gives an object the parts of the present state, to read. */
export function addState(target, store) {
  for (const key of Object.keys(store.getSnapshot())) {
    Object.defineProperty(target, key, { get: () => store.getSnapshot()[key], enumerable: true });
  }
  return target;
}

/**
 * A state that frameworks can subscribe to, as React's `useSyncExternalStore` wants it.
 *
 * `read()` returns the present state. `update()` reads it again and tells the subscribers if
 * something changed.
 */
export function createStore(read) {
  const events = createEvents();
  let snapshot = Object.freeze(read());

  return {
    update() {
      const next = read();
      if (Object.keys(next).every((key) => next[key] === snapshot[key])) return;
      snapshot = Object.freeze(next);
      events.emit("change");
    },

    store: Object.freeze({
      subscribe: (listener) => events.on("change", () => listener()),
      getSnapshot: () => snapshot,
    }),
  };
}
