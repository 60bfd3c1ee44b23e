/**
 * Waits, in a tab that has lost the shared socket, for word that another tab of the group `name`
 * has it again: `onWake()`. Returns what ends the wait.
 */
export function awaitSocket(name, onWake, page) {
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
