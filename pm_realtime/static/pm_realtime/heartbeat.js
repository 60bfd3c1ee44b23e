/**
 * Asks for a sign of life each `interval`; `onSilence` where none came within `timeout`.
 *
 * The next round is set from `alive()`, which runs in a message event: browsers slow a chain of
 * timers in a hidden tab down to one a minute, too slow for the server, but not such a timer.
 */
export function createHeartbeat({ interval, timeout, ping, onSilence }) {
  let asked = false;
  let timer = setTimeout(ask, interval);

  function ask() {
    if (asked) return;
    asked = true;
    clearTimeout(timer);
    timer = setTimeout(onSilence, timeout);
    ping();
  }

  return {
    /** A frame came in. */
    alive() {
      if (!asked) return;
      asked = false;
      clearTimeout(timer);
      timer = setTimeout(ask, interval);
    },

    /** Asks now, for instance when the network came back. */
    check: ask,

    stop() {
      clearTimeout(timer);
    },
  };
}
