import { LONGEST_TIMER } from "./backoff.js";

export const WAKE_PATIENCE = 1_000;

// The same where the server must have given this client up.
const HOPELESS_PATIENCE = 250;
// A later timer ran in a page that slept.
const LATE = 2_000;

export function createHeartbeat({ interval, timeout, ping, onSilence, onSure }) {
  let asked = null;
  let sure = true;
  let heardAt = Date.now();
  let roundTrip = 0;
  let due;
  let timer;
  wait(round, interval);

  function wait(run, delay) {
    clearTimeout(timer);
    due = Date.now() + delay;
    timer = setTimeout(run, Math.min(delay, LONGEST_TIMER));
  }

  function round() {
    ask(timeout);
  }

  function ask(patience) {
    wait(silence, patience);
    asked = { at: Date.now(), id: ping() };
  }

  function silence() {
    if (Date.now() - due > LATE) doubt(true);
    else onSilence();
  }

  function patienceOf(woken) {
    if (!woken) return timeout;
    if (Date.now() - heardAt > interval + timeout) return HOPELESS_PATIENCE;
    return Math.min(timeout, Math.max(WAKE_PATIENCE, 3 * roundTrip));
  }

  function doubt(woken) {
    const patience = patienceOf(woken);
    const left = due - Date.now();
    if (!sure && left >= 0 && left <= patience) return;
    sure = false;
    ask(patience);
  }

  return {
    get sure() {
      return sure;
    },

    alive({ id }) {
      const answered = asked?.id === id;
      // Other frames may be from before the sleep.
      if (!sure && !answered) return;
      heardAt = Date.now();
      if (!asked) return;
      if (answered) roundTrip = heardAt - asked.at;
      asked = null;
      wait(round, interval);
      if (sure) return;
      sure = true;
      onSure();
    },

    doubt,

    stop() {
      clearTimeout(timer);
    },
  };
}
