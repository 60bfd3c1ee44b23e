export function createEvents() {
  const byType = new Map();

  function on(type, handler) {
    if (typeof handler !== "function") throw new TypeError("A handler must be a function.");
    const entry = { handler };
    if (!byType.has(type)) byType.set(type, new Set());
    byType.get(type).add(entry);
    return () => {
      const entries = byType.get(type);
      if (entries?.delete(entry) && entries.size === 0) byType.delete(type);
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
    const entries = byType.get(type);
    if (!entries) return;
    for (const entry of [...entries]) {
      // An earlier handler may have taken this one off.
      if (!entries.has(entry)) continue;
      try {
        entry.handler(detail);
      } catch (error) {
        report(error);
      }
    }
  }

  return { on, once, emit };
}

function report(error) {
  if (typeof globalThis.reportError === "function") globalThis.reportError(error);
  else console.error(error);
}
