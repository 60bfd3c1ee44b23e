/** Handlers by event name. If one throws, the error is reported and the others still run. */
export function createEvents() {
  const byType = new Map();

  function on(type, handler) {
    if (typeof handler !== "function") throw new TypeError("A handler must be a function.");
    const entry = { handler };
    const entries = byType.get(type) ?? new Set();
    byType.set(type, entries.add(entry));
    return () => {
      if (entries.delete(entry) && entries.size === 0) byType.delete(type);
    };
  }

  function once(type, handler) {
    const off = on(type, (detail) => {
      off();
      return handler(detail);
    });
    return off;
  }

  function emit(type, detail) {
    const entries = byType.get(type) ?? [];
    for (const entry of [...entries]) {
      if (!entries.has(entry)) continue;
      try {
        entry.handler(detail);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }

  return { on, once, emit };
}
