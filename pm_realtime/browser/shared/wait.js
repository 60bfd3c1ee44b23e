/**
 * For a tab that lost the shared socket: calls `onUp()` when another tab has one again. Returns a
 * function that ends the wait.
 */
export function waitForSocket(name, onUp, page) {
  const channel = new page.BroadcastChannel(name);

  function stop() {
    channel.close();
    page.removeEventListener?.("pagehide", stop, true);
  }

  channel.onmessage = ({ data }) => {
    if (data.kind !== "up") return;
    stop();
    onUp?.();
  };
  page.addEventListener?.("pagehide", stop, true);
  return stop;
}
