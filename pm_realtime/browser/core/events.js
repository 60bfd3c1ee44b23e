/**
 * Handlers by event name. If one throws, the error is reported and the others still run. They have
 * numbers, in the order in which they were added.
 */
export function createEvents() {
  const byType = new Map();
  let count = 0;

  function on(type, handler) {
    if (typeof handler !== "function") throw new TypeError("A handler must be a function.");
    const entry = { handler, number: (count += 1) };
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

  /** Calls the handlers whose numbers `isFor` accepts. */
  function emit(type, detail, isFor = () => true) {
    const entries = byType.get(type) ?? [];
    for (const entry of [...entries]) {
      if (!entries.has(entry) || !isFor(entry.number)) continue;
      try {
        entry.handler(detail);
      } catch (error) {
        (globalThis.reportError ?? console.error)(error);
      }
    }
  }

  /** The number of the handler that was added last. */
  return { on, once, emit, lastNumber: () => count };
}
