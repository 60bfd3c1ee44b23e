/** How long an owner may take for an answer, in ms; it is asked twice before it is given up. */
export const ANSWER_WITHIN = 2_000;

/** How often a tab that is seen asks its owner whether it is there, in ms. */
export const ASK_EVERY = 5_000;

/**
 * Notices an owner that is there and does nothing: its page hangs, or is frozen without a word.
 *
 * One that is closed or crashes loses its lock, which needs no watch. `ask()` asks the owner for a
 * sign, `isSeen()` whether this tab is visible (hidden ones have slow timers, and time);
 * `onSilence()` comes where no sign did.
 */
export function createWatch({ ask, isSeen, onSilence }) {
  let timer = null;
  let strikes = 0;
  let paused = false;
  const clock = setInterval(() => isSeen() && inquire(), ASK_EVERY);

  function expect() {
    if (!paused) timer ??= setTimeout(strike, ANSWER_WITHIN);
  }

  function sign() {
    clearTimeout(timer);
    timer = null;
    strikes = 0;
  }

  function inquire() {
    if (paused || timer !== null) return;
    ask();
    expect();
  }

  function strike() {
    timer = null;
    strikes += 1;
    // After a sleep the answer may stand behind this timer: only the second silence counts.
    if (strikes < 2) {
      inquire();
    } else {
      strikes = 0;
      onSilence();
    }
  }

  return {
    /** Something was sent that the owner acknowledges. */
    expect,
    /** Asks now. */
    inquire,

    /** The owner has said something. */
    sign,

    /** Nothing is expected, until `resume()`. */
    pause() {
      sign();
      paused = true;
    },

    resume() {
      paused = false;
    },

    stop() {
      clearInterval(clock);
      sign();
      paused = true;
    },
  };
}
