import { openSocket } from "./socket.js";

// Most pages do without that code. Where it cannot be had, a tab has a socket of its own.
const loadShared = () => import("./shared.js").catch(() => ({ joinSocket: openSocket }));

export function openShared(options, load = loadShared) {
  let part = null;
  let over = false;
  load().then(({ joinSocket }) => {
    if (!over) part = joinSocket(options);
  });

  return {
    sure: true,
    send: (envelope, urgent) => part?.send(envelope, urgent) ?? false,

    close() {
      over = true;
      part?.close();
    },

    doubt: (woken) => part?.doubt(woken),
  };
}
