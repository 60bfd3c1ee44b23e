import { createConnection } from "./connection.js";

// Shared tabs are code that most pages do without; where it cannot be had, a tab has its own.
export function createLazyConnection(load, settings, hooks) {
  let real = null;
  let wanted = false;

  load()
    .catch(() => ({ createSharedConnection: createConnection }))
    .then(({ createSharedConnection }) => {
      real = createSharedConnection(settings, hooks);
      if (wanted) real.connect();
    });

  function want(next) {
    wanted = next;
    hooks.onStatus({ status: next ? "connecting" : "stopped" });
  }

  return {
    get status() {
      return real ? real.status : wanted ? "connecting" : "stopped";
    },
    connect: () => (real ? real.connect() : want(true)),
    disconnect: () => (real ? real.disconnect() : want(false)),
    send: (envelope, urgent) => real?.send(envelope, urgent) ?? false,
  };
}
