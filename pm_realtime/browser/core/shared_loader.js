import { ABNORMAL_CLOSE, openSocket } from "./socket.js";

/**
 * Most pages do not need this code. If it does not load, the tab opens a socket of its own. `url` is
 * where the template tag found it, as a storage may have hashed its name.
 */
const loadShared = (url) =>
  (url ? import(/* webpackIgnore: true */ /* @vite-ignore */ url) : import("../shared.js")).catch(
    () => ({ joinSharedSocket: openSocket }),
  );

/** `openSocket` for tabs that share one socket. The code for it is loaded on the first call. */
export function openSharedSocket(options, load = loadShared) {
  let tab = null;
  let over = false;
  load(options.sharedModule)
    .then(({ joinSharedSocket }) => {
      if (!over) tab = joinSharedSocket(options);
    })
    .catch((error) => options.onClose(ABNORMAL_CLOSE, error.message, error));

  return {
    healthy: true,
    send: (...command) => tab?.send(...command) ?? false,

    close() {
      over = true;
      tab?.close();
    },

    suspect: (woken) => tab?.suspect(woken),
    reopen: () => tab?.reopen(),
  };
}
