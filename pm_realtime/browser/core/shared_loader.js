import { LOST, openSocket } from "./socket.js";

// Most pages need no such code; where it does not load, a tab has its own socket.
const loadShared = () => import("../shared.js").catch(() => ({ joinSocket: openSocket }));

export function openShared(options, load = loadShared) {
  let part = null;
  let over = false;
  load()
    .then(({ joinSocket }) => {
      if (!over) part = joinSocket(options);
    })
    .catch((error) => options.onClose(LOST, error.message, error));

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
