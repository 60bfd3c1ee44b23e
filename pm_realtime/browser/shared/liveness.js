/** How long a leader may take to answer. It is asked twice before it counts as silent. */
const ANSWER_TIMEOUT_MS = 2_000;

/** How often a visible tab asks its leader if it is there. */
const PROBE_INTERVAL_MS = 5_000;

/**
 * Notices a leader that exists but does nothing: its page hangs, or was frozen without an event.
 * A leader that closes or crashes loses its lock and needs no probe.
 *
 * `ask()` asks the leader to answer. `isObserving()` says if this tab probes; hidden tabs do not,
 * as they have slow timers. `onSilence()` comes if the leader does not answer.
 */
export function createLiveness({ ask, isObserving, onSilence }) {
  let timer = null;
  let failures = 0;
  let paused = false;
  const clock = setInterval(() => isObserving() && probe(), PROBE_INTERVAL_MS);

  function expect() {
    if (!paused) timer ??= setTimeout(fail, ANSWER_TIMEOUT_MS);
  }

  function seen() {
    clearTimeout(timer);
    timer = null;
    failures = 0;
  }

  function probe() {
    if (paused || timer !== null) return;
    ask();
    expect();
  }

  function fail() {
    timer = null;
    failures += 1;
    // After a sleep, this timer may run before the answer is read. So one failure is not enough.
    if (failures < 2) {
      probe();
    } else {
      failures = 0;
      onSilence();
    }
  }

  return {
    /** A message was sent that the leader answers. */
    expect,

    /** Asks now. */
    probe,

    /** The leader said something. */
    seen,

    /** Nothing is expected until `resume()`. */
    pause() {
      seen();
      paused = true;
    },

    resume() {
      paused = false;
    },

    stop() {
      clearInterval(clock);
      seen();
      paused = true;
    },
  };
}
