/**
 * Messages between the tabs that share a socket. A tab also gets its own messages.
 *
 * `receive(message)` gets messages of other tabs, and those of this one after the running code.
 */
export function createBus({ name, self, BroadcastChannel, receive }) {
  const channel = new BroadcastChannel(name);
  let over = false;
  channel.onmessage = ({ data }) => !over && receive(data);

  const isOnlyForSelf = ({ to }) =>
    to === self || (Array.isArray(to) && to.length === 1 && to[0] === self);

  return {
    post(message) {
      if (over) return;
      if (!isOnlyForSelf(message)) channel.postMessage(message);
      queueMicrotask(() => !over && receive(message));
    },

    /** Nothing is received from now on. Posted messages still reach the other tabs. */
    close() {
      over = true;
      channel.close();
    },
  };
}
