/** How long a page may stand still before it has to ask whether it is the owner, in ms. */
export const STILL_FOR = 1_000;

/**
 * Lets an owner act while it is one.
 *
 * A page that hung may have lost its lock, and the word of that may stand behind all the messages
 * and timers of the hang. After a pause, and where there is reason for doubt, `isOwner()` has to
 * say so first; what comes until then is kept. `onLost()` comes if it is the owner no more,
 * `onWon()` if it is and another speaks as one.
 */
export function createGuard({ isOwner, onLost, onWon }) {
  let ranAt = performance.now();
  let kept = null;
  let stale = false;
  let rival = false;
  let over = false;

  async function ask() {
    let owns;
    do {
      stale = false;
      owns = await isOwner();
    } while (stale && !over);
    if (over) return;
    if (!owns) onLost();
    else if (rival) onWon();
    else release();
  }

  function release() {
    const runs = kept;
    kept = null;
    runs.forEach(pass);
  }

  function doubt() {
    stale = true;
    if (kept) return;
    kept = [];
    ask();
  }

  function pass(run) {
    if (over) return;
    const now = performance.now();
    if (now - ranAt > STILL_FOR) doubt();
    ranAt = now;
    if (kept) kept.push(run);
    else run();
  }

  return {
    /** Runs it, at once or as soon as this tab is known to be the owner. */
    pass,

    doubt,

    /** Another speaks as the owner. */
    contest() {
      rival = true;
      doubt();
    },

    /** Nothing runs from here on. */
    stop() {
      over = true;
    },
  };
}
