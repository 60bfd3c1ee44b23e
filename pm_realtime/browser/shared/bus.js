/**
 * Messages between the tabs of a group, this tab's own ends among them.
 *
 * `receive(message)` gets what others post and, after the running code, what is posted here.
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

    /** Nothing comes from here on; what was posted is still on its way to the others. */
    close() {
      over = true;
      channel.close();
    },
  };
}
