/** The client of a component or effect scope, and its state as refs. */
import { hasInjectionContext, inject, readonly, shallowRef, ssrContextKey } from "vue";

import { RealtimeError } from "../client.js";
import { ignorable } from "../core/promises.js";

/** `app.provide(realtimeKey, realtime)` gives an app, or a test, a client of its own. */
export const realtimeKey = Symbol("pm_realtime");

// By client: the refs that all components share, and the subscriptions of each.
const shared = new WeakMap();

export const providedRealtime = () => (hasInjectionContext() ? inject(realtimeKey, null) : null);

export function sharedBy(realtime) {
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

export function toRefs(values) {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, shallowRef(value)]));
}

export function allReadonly(refs) {
  return Object.fromEntries(Object.entries(refs).map(([key, ref]) => [key, readonly(ref)]));
}

// Not by `document` alone: some test environments have one on the server, too.
export function isServer() {
  if (hasInjectionContext() && inject(ssrContextKey, null)) return true;
  return typeof document === "undefined";
}

export function refused(code) {
  return ignorable(Promise.reject(new RealtimeError(code)));
}
