/**
 * For a tab that lost the shared socket: calls `onWake()` when another tab has one again. Returns a
 * function that ends the wait.
 */
export function waitForSocket(name, onWake, page) {
  const channel = new page.BroadcastChannel(name);

  function stop() {
    channel.close();
    page.removeEventListener?.("pagehide", stop, true);
  }

  channel.onmessage = ({ data }) => {
    if (data.kind !== "up") return;
    stop();
    onWake?.();
  };
  page.addEventListener?.("pagehide", stop, true);
  return stop;
}
