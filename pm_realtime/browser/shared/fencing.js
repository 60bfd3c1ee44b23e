/** After a pause this long, a page asks if it is still the leader. */
const MAX_PAUSE_MS = 1_000;

/**
 * Lets a leader act only while it is the leader.
 *
 * A page that hung may have lost its lock, and may process all messages and timers of that time
 * before it is told. So after a pause, or if there is another reason, `isLeader()` is asked first,
 * and actions wait for its answer. `onLost()` comes if this tab is not the leader any more, and
 * `onWon()` if it is and another tab also acts as one.
 */
export function createFencing({ isLeader, onLost, onWon }) {
  let ranAt = performance.now();
  let kept = null;
  let stale = false;
  let contested = false;
  let over = false;

  async function ask() {
    let leads;
    do {
      stale = false;
      leads = await isLeader();
    } while (stale && !over);
    if (over) return;
    if (!leads) onLost();
    else if (contested) onWon();
    else release();
  }

  function release() {
    const actions = kept;
    kept = null;
    actions.forEach(run);
  }

  function recheck() {
    stale = true;
    if (kept) return;
    kept = [];
    ask();
  }

  function run(action) {
    if (over) return;
    const now = performance.now();
    if (now - ranAt > MAX_PAUSE_MS) recheck();
    ranAt = now;
    if (kept) kept.push(action);
    else action();
  }

  return {
    /** Runs the action now, or when this tab is known to be the leader. */
    run,

    /** Asks again before the next action. */
    recheck,

    /** Another tab acts as the leader. */
    contest() {
      contested = true;
      recheck();
    },

    /** No action runs from now on. */
    stop() {
      over = true;
    },
  };
}
